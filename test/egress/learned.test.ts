import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EgressRule, NetworkRequest, readsRequests, type EgressProtocol, type Json, type NetworkPolicy } from '@caisson/contract';
import { decideConnection, decideHttp, decideName } from '@caisson/egress';
import { decideAgain, isOfRules, layersOf, layersToTest, pastOf, PolicyTest, proposeRules, unmet, usesOf, type Again, type Past, type Use } from '@caisson/egress/rules';
import fc from 'fast-check';

const HOSTS = ['api.example.com', 'a.cdn.example.com', 'b.cdn.example.com', 'c.cdn.example.com', 'd.cdn.example.com', 'other.test', 'localhost'];
const PORTS = [80, 443, 8443, 5432];
const ID = '8c6f1b62-9f7a-4c53-9d6f-0a5f4f1f2b3c';
const segment = fc.oneof(fc.constantFrom('v1', 'users', 'a*b', 'ü', 'x;y=1', ID), fc.nat(99).map(String), fc.string({ maxLength: 5 }));
const path = fc.oneof(
  fc.array(segment, { maxLength: 4 }).map((segments) => `/${segments.map(encodeURIComponent).join('/')}`),
  fc.constantFrom('/', '/a//b', '/../x', '/%2f', '/a%', '/users/1', '/users/2', '/users/3', `/${'x'.repeat(600)}`),
);
const method = fc.constantFrom('GET', 'GET', 'POST', 'DELETE', 'get');
/** As a gate says it: by one protocol at each port. */
const use = fc.record({ host: fc.constantFrom(...HOSTS), port: fc.constantFrom(...PORTS), method, path }).map(({ host, port, ...request }): Use => {
  const protocol: EgressProtocol = port === 80 ? 'http' : port === 8443 ? 'https' : port === 443 ? 'tls' : 'tcp';
  return { host, port, protocol, request: readsRequests(protocol) ? request : null };
});
const uses = fc.array(use, { maxLength: 12 });

/** Whether rules let pass what was used, spoken as it was. */
function passes(rules: readonly EgressRule[], { host, port, protocol, request }: Use): boolean {
  const opened = decideConnection(layersOf(undefined, { rules }), { host, port });
  if (opened.effect === 'deny' || opened.protocol !== protocol) return false;
  return request === null || decideHttp(opened.layers, { ...request, bodyBytes: null }).effect === 'allow';
}

test('learned rules are a request, and allow everything that was learned', () => {
  fc.assert(fc.property(uses, fc.boolean(), (seen, wildcards) => {
    const { rules } = proposeRules(seen, { wildcards });
    NetworkRequest.parse({ rules });
    for (const one of seen) assert.ok(passes(rules, one), `${JSON.stringify(one)} by ${JSON.stringify(rules)}`);
  }), { numRuns: 2_000 });
});

test('learned rules allow no other host and no other port, and with wildcards none but below a name that three were below', () => {
  fc.assert(fc.property(uses, fc.boolean(), (seen, wildcards) => {
    const { rules } = proposeRules(seen, { wildcards });
    const layers = layersOf(undefined, { rules });
    const below = (suffix: string, port: number): number => new Set(seen.filter((one) => one.port === port && one.host.endsWith(suffix)).map(({ host }) => host)).size;
    for (const host of [...HOSTS, 'example.com', 'cdn.example.com', 'x.cdn.example.com', 'x.example.com']) {
      for (const port of [...PORTS, 22]) {
        if (decideConnection(layers, { host, port }).effect === 'deny') continue;
        const wide = wildcards && ['.cdn.example.com', '.example.com'].some((suffix) => host.endsWith(suffix) && below(suffix, port) >= 3);
        assert.ok(wide || seen.some((one) => one.host === host && one.port === port), `${host}:${port}`);
      }
    }
    if (!wildcards) assert.ok(rules.every(({ host }) => !host.startsWith('*')));
  }), { numRuns: 2_000 });
});

test('a path that was not seen is refused, and a segment is generalised only where three paths differ in it and it is an identifier', () => {
  const seen = (...paths: readonly string[]): readonly string[] | undefined => {
    const [rule] = proposeRules(paths.map((one): Use => ({ host: 'a.test', port: 80, protocol: 'http', request: { method: 'GET', path: one } }))).rules;
    return rule?.http?.paths;
  };
  assert.deepEqual(seen('/users/1', '/users/2'), ['/users/1', '/users/2']);
  assert.deepEqual(seen('/users/1', '/users/2', `/users/${ID}`, '/me'), ['/me', '/users/*']);
  assert.deepEqual(seen('/users/a', '/users/b', '/users/c'), ['/users/a', '/users/b', '/users/c']);
  assert.deepEqual(seen('/a%2Ab', '/%C3%BC', '/sp%20ce'), ['/%C3%BC', '/a%2Ab', '/sp%20ce']);
  assert.equal(seen('/a', '/b//c'), undefined, 'what is not clear no pattern means');
  assert.deepEqual(seen(...Array.from({ length: 65 }, (_, at) => `/pkg/p${at}`)), ['/pkg/**']);
});

test('a wildcard takes the longest name that three were below, and never one of a single label', () => {
  const rules = (hosts: readonly string[]): readonly string[] => proposeRules(hosts.map((host): Use => ({ host, port: 443, protocol: 'tls', request: null })), { wildcards: true }).rules.map(({ host }) => host);
  assert.deepEqual(rules(['a.cdn.x.test', 'b.cdn.x.test', 'c.cdn.x.test', 'api.x.test']), ['*.cdn.x.test', 'api.x.test']);
  assert.deepEqual(rules(['a.test', 'b.test', 'c.test']), ['a.test', 'b.test', 'c.test']);
  assert.deepEqual(rules(['a.x.test', 'b.x.test', 'x.test']), ['a.x.test', 'b.x.test', 'x.test']);
});

const connect = (given: { readonly [name: string]: Json }): Json => ({ event: 'connect', connection: 1, host: 'a.test', port: 443, protocol: 'tls', rule: 'learn', reason: '', ...given });

test('a connection that did not come about is no use, and what is no connection is none', () => {
  assert.deepEqual(usesOf([connect({}), connect({ connection: 2, host: 'b.test' }), { event: 'not-connected', connection: 2 }, { event: 'refused', what: 'packet', to: '10.0.0.1:80/tcp', rule: null, reason: 'x' }, null, []]).map(({ host }) => host), ['a.test']);
});

const anyRule = fc.record({ host: fc.constantFrom('a.test', '*.b.test', 'c.b.test'), port: fc.constantFrom(80, 443, 22), protocol: fc.constantFrom('tls' as const, 'http' as const, 'https' as const, 'tcp' as const), effect: fc.constantFrom('allow' as const, 'allow' as const, 'deny' as const) }, { requiredKeys: ['host'] })
  .chain((rule) => fc.constantFrom({}, { methods: ['GET'] }, { paths: ['/a'] }).map((http): EgressRule => {
    const whole = { ...rule, http };
    return Object.keys(http).length > 0 && EgressRule.safeParse(whole).success ? whole : rule;
  }));
const someRules = fc.array(anyRule, { maxLength: 4 });
const place = fc.record({ host: fc.constantFrom('a.test', 'c.b.test', 'z.test'), port: fc.constantFrom(80, 443, 22) });

/** What a gate puts on record of one attempt. */
function recorded(rules: readonly EgressRule[], { host, port }: { readonly host: string; readonly port: number }, request: { readonly method: string; readonly path: string }): Json {
  const opened = decideConnection(layersOf(undefined, { rules }), { host, port });
  if (opened.effect === 'deny') return { event: 'refused', what: 'connection', to: `${host}:${port}`, rule: opened.rule, reason: opened.reason };
  if (!readsRequests(opened.protocol)) return connect({ host, port, protocol: opened.protocol });
  const decided = decideHttp(opened.layers, { ...request, bodyBytes: null });
  if (decided.effect === 'deny') return { event: 'refused', what: 'request', to: `${request.method} ${host}:${port}`, rule: decided.rule, reason: decided.reason };
  return { event: 'request', connection: 1, host, port, protocol: opened.protocol, rule: decided.rule, ...request };
}

function again(rules: readonly EgressRule[], body: Json): { readonly past: Past; readonly after: Again } {
  const past = pastOf(body);
  assert.ok(past !== null, JSON.stringify(body));
  return { past, after: decideAgain(layersOf(undefined, { rules }), past) };
}

test('replayed under the rules that it was decided by, nothing differs', () => {
  fc.assert(fc.property(someRules, place, fc.constantFrom('GET', 'POST'), fc.constantFrom('/a', '/b'), (rules, where, verb, to) => {
    const { past, after } = again(rules, recorded(rules, where, { method: verb, path: to }));
    assert.ok(after.effect === past.effect || after.effect === 'unknown', `${JSON.stringify(past)} ${JSON.stringify(after)}`);
    if (past.effect === 'allow') assert.equal(after.effect, 'allow');
  }), { numRuns: 3_000 });
});

test('a replay says of a request what the gate would say of it, or that the record does not hold what it asks for', () => {
  fc.assert(fc.property(someRules, someRules, place, fc.constantFrom('GET', 'POST'), fc.constantFrom('/a', '/b'), (before, after, where, verb, to) => {
    const body = recorded(before, where, { method: verb, path: to });
    const told = again(after, body).after.effect;
    const now = recorded(after, where, { method: verb, path: to }) as { readonly event: string; readonly protocol?: string; readonly what?: string };
    const old = body as { readonly event: string; readonly protocol?: string; readonly what?: string };
    if (told === 'unknown') return;
    if (now.event === 'refused' && now.what === 'connection') return assert.equal(told, 'deny');
    if (old.event === 'request' && old.protocol === now.protocol) assert.equal(told, 'allow');
    if (old.event === 'request' && now.event === 'refused') assert.equal(told, 'deny');
    if (old.event === 'refused' && now.event !== 'refused') assert.equal(told, 'allow');
  }), { numRuns: 3_000 });
});

test('a replay names what was spoken where the rules hold it to something else', () => {
  const after = (rule: EgressRule, protocol: EgressProtocol, port: number): string => again([rule], connect({ protocol, port })).after.effect;
  assert.equal(after({ host: 'a.test', port: 443, protocol: 'http' }, 'tls', 443), 'deny');
  assert.equal(after({ host: 'a.test', port: 443, protocol: 'tcp' }, 'tls', 443), 'allow');
  assert.equal(after({ host: 'a.test', port: 443, http: { methods: ['GET'] } }, 'tls', 443), 'unknown');
  assert.equal(after({ host: 'a.test', port: 22, protocol: 'tls' }, 'tcp', 22), 'unknown');
});

test('every refusal of rules is known by its reason, and no other is', () => {
  const anything = fc.oneof(fc.constantFrom('a.test', 'c.b.test', '10.0.0.1'), fc.string());
  fc.assert(fc.property(someRules, someRules, fc.record({ host: anything, port: fc.constantFrom(80, 443) }), fc.string(), fc.string(), (allow, rules, { host, port }, verb, to) => {
    const layers = layersOf({ allow: allow.map((rule) => ({ ...rule, effect: 'allow' })) }, { rules });
    const opened = decideConnection(layers, { host, port });
    const all = [decideName(layers, host), opened, opened.effect === 'allow' ? decideHttp(opened.layers, { method: verb, path: to, bodyBytes: null }) : opened];
    for (const decision of all) if (decision.effect === 'deny') assert.ok(isOfRules(decision.reason), decision.reason);
  }), { numRuns: 3_000 });
  for (const other of ['a.test stands for 10.0.0.1, which is private', 'the TLS connection names no server', '1000 connections are open, as many as a sandbox may have', '"x" of the call allows 3 within 60 s', 'only names that a rule allows can be reached, by TCP']) assert.equal(isOfRules(other), false, other);
});

test('a layer that learns is narrowed by what denies and by every other layer, and speaks to names only', () => {
  const learning = (policy: NetworkPolicy, ...rules: readonly EgressRule[]) => (host: string, port: number): string => {
    const decision = decideConnection(layersOf(policy, { rules, learn: true }), { host, port });
    return decision.effect === 'allow' ? `${decision.rule} ${decision.protocol}` : 'deny';
  };
  const free = learning({}, { host: 'no.test', effect: 'deny' }, { host: 'read.test', protocol: 'https' });
  assert.deepEqual([free('a.test', 443), free('a.test', 80), free('a.test', 22), free('no.test', 22), free('read.test', 443), free('10.0.0.1', 80), free('a.test', 0), free('a.test', 65_536)], ['learn tls', 'learn http', 'learn tcp', 'deny', 'allow read.test:443 https', 'deny', 'deny', 'deny']);
  const narrow = learning({ allow: [{ host: '*.ok.test' }], deny: [{ host: 'no.ok.test' }] });
  assert.deepEqual([narrow('a.ok.test', 443), narrow('a.ok.test', 80), narrow('no.ok.test', 443), narrow('a.test', 443)], ['learn tls', 'deny', 'deny', 'deny']);
});

const expecting = (file: unknown): readonly string[] => {
  const { policy, rules, ...expected } = PolicyTest.parse(file);
  assert.ok(typeof policy !== 'string' && typeof rules !== 'string');
  return unmet(layersToTest(policy, rules), expected).map(({ expected: effect, what, reason, fix }) => `${effect} ${what}: ${reason}; ${fix}`);
};

test('an expectation that is not met comes with the reason and what would meet it', () => {
  const rules = [{ host: 'api.test', http: { methods: ['GET'], paths: ['/v1/**'] } }, { host: 'raw.test', port: 22 }];
  assert.deepEqual(expecting({ rules, allow: ['api.test', 'raw.test:22', { host: 'api.test', path: '/v1/a' }], deny: ['169.254.169.254:80', '[::1]:80', 'api.test:80', { host: 'api.test', method: 'POST', path: '/v1/a' }] }), []);
  const [notAllowed = '', notDenied = '', unread = ''] = expecting({ rules, allow: ['b.test:443'], deny: ['api.test', { host: 'raw.test', port: 22, method: 'GET' }] });
  assert.match(notAllowed, /^allow b\.test:443: no rule of the call allows b\.test:443; --allow b\.test:443$/);
  assert.match(notDenied, /^deny api\.test:443: api\.test:443 is allowed by "allow api\.test:443" of the call; a rule that denies it/);
  assert.match(unread, /its requests are not read, for its protocol is tcp/);
});

test('a policy alone is tested by what it lets any call have', () => {
  const policy = { allow: [{ host: '*.ok.test' }], deny: [{ host: 'no.ok.test' }] };
  assert.deepEqual(expecting({ policy, allow: ['a.ok.test:443'], deny: ['no.ok.test:443', 'a.ok.test:80', 'else.test:443'] }), []);
});

test('a rule that denies and only records does not meet what is to be denied', () => {
  assert.match(expecting({ rules: [{ host: 'a.test' }, { host: 'a.test', effect: 'deny', auditOnly: true }], deny: ['a.test:443'] })[0] ?? '', /what would deny it only records/);
});
