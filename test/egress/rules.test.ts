import assert from 'node:assert/strict';
import { test } from 'node:test';
import { allowArgument, EgressRule, NetworkPolicy, protocolOf, readsRequests, ruleName, type EgressDecision, type EgressDenied } from '@caisson/contract';
import { canonicalHost, decideConnection, decideHttp, decideName, layersOf, type ConnectionAllowed, type HttpAllowed, type HttpRequest, type Layer } from '@caisson/egress';
import fc from 'fast-check';

const rule = (given: EgressRule): EgressRule => EgressRule.parse(given);
const asked = (...rules: readonly EgressRule[]): readonly Layer[] => layersOf(undefined, { rules: rules.map(rule) });
const under = (policy: NetworkPolicy, ...rules: readonly EgressRule[]): readonly Layer[] => layersOf(NetworkPolicy.parse(policy), { rules: rules.map(rule) });

function allowed<T extends EgressDecision>(decision: T): Exclude<T, EgressDenied> {
  assert.equal(decision.effect, 'allow', decision.reason);
  return decision as Exclude<T, EgressDenied>;
}

function denied(decision: EgressDecision): EgressDenied {
  assert.ok(decision.effect === 'deny', decision.reason);
  return decision;
}

const connection = (layers: readonly Layer[], host: string, port = 443): ConnectionAllowed | EgressDenied => decideConnection(layers, { host, port });

/** Few names, ports and protocols, so that rules meet. */
const HOSTS = ['example.com', 'a.example.com', 'b.a.example.com', 'other.test', 'localhost'];
const PORTS = [80, 443, 5432];
/** A port that no rule names. */
const OTHER_PORT = 9;
const anyHttp = fc.record({
  methods: fc.subarray(['GET', 'POST'], { minLength: 1 }),
  paths: fc.subarray(['/', '/a/*', '/a/**', '/**', '/b'], { minLength: 1 }),
  headers: fc.constantFrom({ 'x-mode': 'safe' }, { 'X-Mode': 's*' }, { accept: '*' }),
  mcp: fc.constantFrom({ tools: ['read_*'] }, { methods: ['tools/list', 'tools/call'] }, { methods: ['tools/*'], tools: ['read_file', 'drop'] }),
}, { requiredKeys: [] });
const anyRule = fc.record({
  host: fc.constantFrom(...HOSTS, '*.example.com', '*.a.example.com'),
  port: fc.constantFrom(...PORTS),
  protocol: fc.constantFrom('tls' as const, 'http' as const, 'https' as const, 'tcp' as const),
  http: anyHttp,
  effect: fc.constantFrom('allow' as const, 'deny' as const, 'allow' as const),
  auditOnly: fc.boolean(),
}, { requiredKeys: ['host'] }).map(({ http, ...rest }): EgressRule => (http !== undefined && readsRequests(protocolOf(http === undefined ? rest : { ...rest, http })) ? { ...rest, http } : rest));
const rules = fc.array(anyRule, { maxLength: 5 });
const allowRules = rules.map((all) => all.map((given): EgressRule => ({ ...given, effect: 'allow' })));
const denyRules = fc.array(anyRule, { maxLength: 2 }).map((all) => all.map((given): EgressRule => ({ ...given, effect: 'deny' })));
const layer = fc.record({ name: fc.constantFrom('organisation' as const, 'universe' as const, 'agent' as const), allow: fc.option(allowRules), deny: denyRules });
const callLayer = fc.record({ name: fc.constant('call' as const), allow: allowRules, deny: denyRules, learn: fc.constant(true as const) }, { requiredKeys: ['name', 'allow', 'deny'] });
const anyLayers = fc.tuple(fc.array(layer, { maxLength: 2 }), callLayer).map(([above, call]): readonly Layer[] => [...above, call]);
const anyFields = fc.dictionary(fc.constantFrom('x-mode', 'x_mode', 'accept'), fc.array(fc.constantFrom('safe', 'SAFE', 'safe, other', 's\u0000', ''), { maxLength: 2 }), { maxKeys: 2 });
const anyMessage = fc.constantFrom({ method: 'tools/list', tool: null, id: 1 }, { method: 'tools/call', tool: 'read_file', id: 2 }, { method: 'tools/call', tool: 'Drop', id: null }, { method: null, tool: null, id: null });
const anyMcp = fc.oneof(fc.constant(null), fc.constant({ unclear: 'it is no JSON' }), fc.array(anyMessage, { minLength: 1, maxLength: 3 }).map((messages) => ({ messages, isBatch: true })));
const request = fc.record({ method: fc.constantFrom('GET', 'POST', 'get', 'PUT'), path: fc.constantFrom('/', '/a/', '/a/b', '/a/b/c', '/b', '/b;x', '/%61/b', '/a/../b', '//b'), bodyBytes: fc.constantFrom(null, 0, 10), fields: anyFields, mcp: anyMcp }, { requiredKeys: ['method', 'path', 'bodyBytes'] });

const EVERYWHERE = HOSTS.flatMap((host) => [...PORTS, OTHER_PORT].map((port) => ({ host, port })));

/** What a sandbox can do under layers: every destination, there every request, plain and by TLS, and what is no request that is read. */
function possible(layers: readonly Layer[], requests: readonly HttpRequest[]): ReadonlySet<string> {
  const can = new Set<string>();
  for (const destination of EVERYWHERE) {
    const decision = decideConnection(layers, destination);
    if (decision.effect === 'deny') continue;
    const where = `${destination.host}:${destination.port}`;
    can.add(where);
    if (!readsRequests(decision.protocol)) can.add(`${where} TLS`);
    if (decision.protocol === 'tcp') can.add(`${where} anything`);
    for (const one of requests) {
      const { protocol } = decision;
      const passes = !readsRequests(protocol) || decideHttp(decision.layers, one).effect === 'allow';
      if (passes && protocol !== 'https' && protocol !== 'tls') can.add(`${where} ${JSON.stringify(one)}`);
      if (passes && protocol !== 'http') can.add(`${where} by TLS ${JSON.stringify(one)}`);
    }
  }
  return can;
}

test('nothing asked is nothing allowed, whatever the policy allows', () => {
  for (const layers of [asked(), under({}), under({ allow: [{ host: '*.example.com' }] }), [], [{ name: 'organisation', allow: null, deny: [] }] as const]) {
    assert.equal(denied(connection(layers, 'a.example.com')).rule, null);
    assert.equal(denied(decideName(layers, 'a.example.com')).rule, null);
  }
});

test('a destination that is allowed names the rules, the protocol and the canonical host', () => {
  const decision = allowed(connection(under({ allow: [{ host: '*.example.com' }] }, { host: 'api.example.com', name: 'the API' }), 'API.example.com.'));
  assert.equal(decision.rule, 'the API');
  assert.equal(decision.reason, 'api.example.com:443 is allowed by "allow *.example.com:443" of the organisation, "the API" of the call');
  assert.deepEqual([decision.protocol, decision.host, decision.port], ['tls', 'api.example.com', 443]);
  assert.deepEqual(decision.layers.map(({ name, allow }) => [name, allow?.map(({ host }) => host)]), [['organisation', ['*.example.com']], ['call', ['api.example.com']]]);
});

test('*. means every name below and neither the name itself nor one that ends alike', () => {
  const layers = asked({ host: '*.example.com' });
  for (const host of ['a.example.com', 'b.a.example.com', '_x.example.com']) allowed(connection(layers, host));
  for (const host of ['example.com', 'evilexample.com', 'a.example.com.evil.test', 'example.com.evil.test']) denied(connection(layers, host));
});

test('a rule speaks of its port only, and of 443 where it names none', () => {
  const layers = asked({ host: 'db.example.com', port: 5432 }, { host: 'api.example.com' });
  allowed(connection(layers, 'db.example.com', 5432));
  denied(connection(layers, 'db.example.com', 443));
  allowed(connection(layers, 'api.example.com', 443));
  denied(connection(layers, 'api.example.com', 80));
});

test('a rule that denies and names no port denies every port', () => {
  const layers = under({ deny: [{ host: 'db.example.com' }] }, { host: 'db.example.com', port: 5432 });
  assert.deepEqual(denied(connection(layers, 'db.example.com', 5432)), {
    effect: 'deny', rule: 'deny db.example.com:*', reason: 'db.example.com:5432 is denied by "deny db.example.com:*" of the organisation', wouldAllow: 'taking "deny db.example.com:*" out of the rules of the organisation',
  });
  denied(decideName(layers, 'db.example.com'));
});

test('a refusal says which layers lack a rule, and the smallest that would allow it', () => {
  assert.deepEqual(denied(connection(under({ allow: [{ host: '*.example.com' }] }), 'api.example.com')), {
    effect: 'deny', rule: null, reason: 'no rule of the call allows api.example.com:443', wouldAllow: '--allow api.example.com:443',
  });
  const both = denied(connection(under({ allow: [{ host: '*.example.com' }] }), 'other.test', 80));
  assert.equal(both.reason, 'no rule of the organisation or of the call allows other.test:80');
  assert.equal(both.wouldAllow, 'a rule of the organisation that allows other.test:80 and --allow other.test:80');
});

test('a policy that denies in its list of allowed ones denies', () => {
  denied(connection(under({ allow: [{ host: '*.example.com' }, { host: 'a.example.com', effect: 'deny' }] }, { host: 'a.example.com' }), 'a.example.com'));
});

test('what is no name is denied by every rule there could be', () => {
  const layers = asked({ host: '*.example.com' });
  for (const host of ['10.0.0.1', '127.1', '::1', 'a.example.com\0', 'a.example.com@evil.test', 'a%2eexample.com', '', 'a.example.com..']) {
    assert.match(denied(connection(layers, host)).reason, /names only/);
    assert.match(denied(decideName(layers, host)).reason, /names only/);
  }
});

test('a further layer or a rule that denies only narrows what a sandbox can do', () => {
  fc.assert(fc.property(anyLayers, layer, anyRule, fc.nat(3), fc.array(request, { minLength: 1, maxLength: 3 }), (layers, more, given, at, requests) => {
    const before = possible(layers, requests);
    const further = [...layers.slice(0, at), more, ...layers.slice(at)];
    const stricter = layers.map((one, index) => (index === at % layers.length ? { ...one, deny: [...one.deny, { ...given, effect: 'deny' as const }] } : one));
    for (const after of [further, stricter]) {
      for (const what of possible(after, requests)) assert.ok(before.has(what), what);
    }
  }), { numRuns: 2_000 });
});

test('what several layers allow is what each of them allows', () => {
  fc.assert(fc.property(anyLayers, (layers) => {
    for (const destination of EVERYWHERE) {
      if (decideConnection(layers, destination).effect === 'deny') continue;
      for (const one of layers) if (one.allow !== null) assert.equal(decideConnection([one], destination).effect, 'allow');
    }
  }), { numRuns: 1_000 });
});

test('the order of rules and of layers decides nothing but which is named', () => {
  fc.assert(fc.property(anyLayers, request, (layers, one) => {
    const turned = layers.map((each) => ({ ...each, allow: each.allow?.toReversed() ?? null, deny: each.deny.toReversed() })).toReversed();
    assert.deepEqual(possible(turned, [one]), possible(layers, [one]));
  }), { numRuns: 1_000 });
});

test('a name is answered exactly when some port of it may be spoken to', () => {
  let answered = 0;
  fc.assert(fc.property(anyLayers, fc.constantFrom(...HOSTS), (layers, host) => {
    const some = [...PORTS, OTHER_PORT].some((port) => decideConnection(layers, { host, port }).effect === 'allow');
    if (some) answered++;
    assert.equal(decideName(layers, host).effect, some ? 'allow' : 'deny');
  }), { numRuns: 3_000 });
  assert.ok(answered > 100, `${answered} names were answered`);
});

test('any spelling of a host is decided as its canonical form is', () => {
  fc.assert(fc.property(anyLayers, fc.oneof(fc.constantFrom(...HOSTS), fc.string({ unit: 'binary', maxLength: 20 })), fc.constantFrom('', '.', '\0', ' '), (layers, host, end) => {
    const parsed = canonicalHost(`${host.toUpperCase()}${end}`);
    const decision = connection(layers, `${host.toUpperCase()}${end}`);
    assert.deepEqual(decision, 'host' in parsed ? connection(layers, parsed.host) : { ...denied(decision) });
  }), { numRuns: 1_000 });
});

test('what a refusal suggests is an argument of --allow, and makes the destination allowed', () => {
  fc.assert(fc.property(allowRules, fc.constantFrom(...EVERYWHERE), (given, destination) => {
    const layers = asked(...given);
    const decision = decideConnection(layers, destination);
    const text = decision.effect === 'deny' && decision.rule === null ? /^--allow (\S+)$/.exec(decision.wouldAllow)?.[1] : undefined;
    if (text === undefined) return assert.ok(decision.effect === 'allow' || decision.rule !== null, decision.effect);
    const more = allowArgument(text);
    assert.ok(!('refused' in more));
    allowed(decideConnection(asked(...given, more), destination));
  }), { numRuns: 1_000 });
});

const protocols = [
  ['tls', 'tls', 'tls'], ['tls', 'tcp', 'tls'], ['tcp', 'http', 'http'], ['http', 'http', 'http'], ['tcp', 'tcp', 'tcp'], ['tls', 'http', null], ['http', 'tls', null],
] as const;
for (const [above, below, enforced] of protocols) {
  test(`a policy that says ${above} and a call that says ${below} ${enforced === null ? 'disagree, and are refused' : `are held to ${enforced}`}`, () => {
    const decision = connection(under({ allow: [{ host: 'a.example.com', protocol: above }] }, { host: 'a.example.com', protocol: below }), 'a.example.com');
    if (enforced !== null) return assert.equal(allowed(decision).protocol, enforced);
    assert.match(denied(decision).reason, /disagree about what is spoken there: .*organisation says .*call says/);
  });
}

/** Requests to one host whose requests are read. */
function asking(layers: readonly Layer[], given: Partial<HttpRequest>): HttpAllowed | EgressDenied {
  const opened = allowed(connection(layers, 'api.test', 80));
  assert.equal(opened.protocol, 'http');
  return decideHttp(opened.layers, { method: 'GET', path: '/', bodyBytes: 0, ...given });
}
const api = (given: Partial<EgressRule>): EgressRule => ({ host: 'api.test', port: 80, ...given });

test('a request needs a rule whose method and path are both its own', () => {
  const layers = asked(api({ http: { methods: ['GET'], paths: ['/a/**'] } }), api({ name: 'writing', http: { methods: ['POST'], paths: ['/b'] } }));
  assert.equal(allowed(asking(layers, { path: '/a/x?y=/../z' })).rule, 'allow api.test:80');
  assert.equal(allowed(asking(layers, { method: 'POST', path: '/b' })).rule, 'writing');
  assert.match(denied(asking(layers, { method: 'POST', path: '/a/x' })).reason, /no rule of the call for this host allows this POST request/);
  denied(asking(layers, { path: '/b' }));
  denied(asking(layers, { method: 'PUT', path: '/b' }));
});

test('a request counts against the rules that allow it and no others', () => {
  const layers = asked(api({ name: 'a', http: { paths: ['/a'] } }), api({ name: 'b', http: { paths: ['/b'] } }), api({ name: 'all', http: { paths: ['/**'] } }));
  assert.deepEqual(allowed(asking(layers, { path: '/b' })).layers.flatMap(({ allow }) => allow?.map(ruleName)), ['b', 'all']);
});

test('every layer must allow the request, and the narrower can only narrow', () => {
  const layers = under({ allow: [api({ http: { methods: ['GET', 'POST'] } })] }, api({ http: { paths: ['/a/*'] } }));
  allowed(asking(layers, { path: '/a/b' }));
  assert.match(denied(asking(layers, { path: '/b' })).reason, /of the call/);
  assert.match(denied(asking(layers, { path: '/a/b', method: 'PUT' })).reason, /of the organisation/);
});

test('a rule that denies requests denies those, and beats what allows them', () => {
  const layers = under({ deny: [api({ http: { methods: ['DELETE'] } }), api({ http: { paths: ['/admin', '/admin/**'] } })] }, api({ protocol: 'http' }));
  allowed(asking(layers, {}));
  assert.equal(denied(asking(layers, { method: 'DELETE' })).rule, 'deny api.test:80');
  for (const path of ['/admin', '/admin/x', '/%61dmin', '/admin;x=1', '/admin;x/y', '/admin?x']) assert.match(denied(asking(layers, { path })).reason, /denied by/, path);
  for (const path of ['//admin', '/./admin', '/x/../admin', '/x/..;/admin', '/%2561dmin', '/admin%2fx', '/admin%00', '/x\\..\\admin', '/\u0061dmin#']) assert.match(denied(asking(layers, { path })).reason, /not clear|denied by/, path);
  assert.match(denied(asking(layers, { method: 'delete' })).reason, /not clear: a method/);
});

test('a rule that denies requests has them read: a connection that could be anything is held to http, and TLS is refused', () => {
  const deny: EgressRule = { host: 'api.test', protocol: 'http', http: { methods: ['DELETE'] } };
  const layers = under({ deny: [deny] }, { host: 'api.test', port: 8080 }, { host: 'api.test' });
  const opened = allowed(connection(layers, 'api.test', 8080));
  assert.equal(opened.protocol, 'http');
  denied(decideHttp(opened.layers, { method: 'DELETE', path: '/', bodyBytes: 0 }));
  assert.match(denied(connection(layers, 'api.test')).reason, /disagree .*"deny api\.test:\*" of the organisation says http/);
  const recorded = allowed(connection(under({ deny: [{ ...deny, auditOnly: true }] }, { host: 'api.test' }), 'api.test'));
  assert.equal(recorded.protocol, 'tls');
  assert.match(recorded.audit?.reason ?? '', /are not read there/);
});

test('a body is held to the widest rule of a layer and the narrowest layer', () => {
  const layers = under({ allow: [api({ http: { bodyBytes: 100 } })] }, api({ http: { bodyBytes: 10, methods: ['GET'] } }), api({ http: { bodyBytes: 1_000 } }));
  assert.equal(allowed(asking(layers, { bodyBytes: null })).bodyBytes, 100);
  allowed(asking(layers, { bodyBytes: 100 }));
  assert.match(denied(asking(layers, { bodyBytes: 101 })).reason, /with a body of 101 bytes/);
  assert.equal(allowed(asking(asked(api({})), { bodyBytes: null })).bodyBytes, null);
});

test('a body that comes in pieces is refused where the whole would be, and passes up to the limit that was stated', () => {
  const limited = fc.record({ http: fc.record({ bodyBytes: fc.nat(20), methods: fc.subarray(['GET', 'POST'], { minLength: 1 }) }, { requiredKeys: [] }), auditOnly: fc.boolean() }, { requiredKeys: [] }).map(api);
  fc.assert(fc.property(fc.array(limited, { minLength: 1, maxLength: 3 }), fc.array(limited, { minLength: 1, maxLength: 3 }), fc.nat(25), (above, below, bodyBytes) => {
    const layers = under({ allow: above }, ...below);
    const unknown = asking(layers, { bodyBytes: null });
    const known = asking(layers, { bodyBytes });
    if (unknown.effect === 'deny') return assert.equal(known.effect, 'deny');
    assert.equal(known.effect, unknown.bodyBytes === null || bodyBytes <= unknown.bodyBytes ? 'allow' : 'deny');
  }), { numRuns: 2_000 });
});

test('a rule that only records lets pass what it refuses and says what it would have been', () => {
  const layers = asked(api({ http: { methods: ['GET'] }, auditOnly: true }));
  assert.equal(allowed(asking(layers, {})).audit, undefined);
  assert.match(allowed(asking(layers, { method: 'POST' })).audit?.reason ?? '', /no rule of the call for this host allows this POST request/);
});

test('a rule that denies and only records lets pass what it denies, and a rule that denies for good beats it', () => {
  const recorded = under({ deny: [{ host: 'a.example.com', auditOnly: true }] }, { host: 'a.example.com' });
  assert.equal(allowed(connection(recorded, 'a.example.com')).audit?.rule, 'deny a.example.com:*');
  denied(connection(under({ deny: [{ host: 'a.example.com', auditOnly: true }, { host: '*.example.com' }] }, { host: 'a.example.com' }), 'a.example.com'));
  const requests = under({ deny: [api({ http: { methods: ['PUT'] }, auditOnly: true })] }, api({}));
  assert.equal(allowed(asking(requests, { method: 'PUT' })).audit?.rule, 'deny api.test:80');
});

test('a call that only records does not loosen the policy', () => {
  const layers = under({ allow: [api({ http: { methods: ['GET'] } })] }, api({ auditOnly: true, protocol: 'http' }));
  denied(asking(layers, { method: 'POST' }));
  denied(connection(under({ deny: [api({})] }, api({ auditOnly: true })), 'api.test', 80));
});

test('a rule that denies has no budget, since it would have no meaning', () => {
  for (const given of [{ perMinute: 1 }, { bytes: 1 }, { port: 80, http: { bodyBytes: 1 } }]) {
    assert.equal(EgressRule.safeParse({ host: 'a.test', effect: 'deny', ...given }).success, false);
    assert.equal(NetworkPolicy.safeParse({ deny: [{ host: 'a.test', ...given }] }).success, false);
    assert.equal(EgressRule.safeParse({ host: 'a.test', ...given }).success, true);
  }
  assert.equal(NetworkPolicy.safeParse({ deny: [{ host: 'a.test', effect: 'allow' }] }).success, false);
});

test('no decision throws, whatever host, method and path a sandbox writes', () => {
  const text = fc.string({ unit: 'binary', maxLength: 60 });
  fc.assert(fc.property(anyLayers, text, fc.integer(), text, fc.oneof(text, text.map((path) => `/${path}`)), (layers, host, port, method, path) => {
    decideName(layers, host);
    const isOpen = layers.some(({ learn }) => learn === true) ? port >= 1 && port <= 65_535 : PORTS.includes(port);
    assert.equal(decideConnection(layers, { host, port }).effect === 'allow' && !isOpen, false);
    for (const decision of [decideHttp(layers, { method, path, bodyBytes: null })]) assert.doesNotMatch(decision.reason, /[^\u0020-\u007e]/);
  }), { numRuns: 2_000 });
});

test('requests are read by https where a rule of port 443 says which, and where it is asked for', () => {
  const protocolAt = (layers: readonly Layer[], port = 443): string => allowed(connection(layers, 'api.test', port)).protocol;
  assert.equal(protocolAt(asked({ host: 'api.test', http: { methods: ['GET'] } })), 'https');
  assert.equal(protocolAt(asked({ host: 'api.test' })), 'tls');
  assert.equal(protocolAt(asked({ host: 'api.test' }, { host: 'api.test', protocol: 'https' })), 'https');
  assert.equal(protocolAt(under({ allow: [{ host: 'api.test', http: { paths: ['/v1/**'] } }] }, { host: 'api.test' })), 'https', 'the wider layer reads them');
  assert.equal(protocolAt(under({ allow: [{ host: 'api.test' }] }, { host: 'api.test', protocol: 'https' })), 'https', 'the narrower one does');
  assert.equal(protocolAt(under({ deny: [{ host: 'api.test', http: { methods: ['DELETE'] } }] }, { host: 'api.test' })), 'https', 'what denies some requests has them read');
  assert.equal(protocolAt(under({ deny: [{ host: 'api.test', http: { methods: ['DELETE'] }, protocol: 'http' }] }, { host: 'api.test', port: 80 }), 80), 'http');
  assert.match(denied(connection(asked({ host: 'api.test', port: 8443, protocol: 'https' }, { host: 'api.test', port: 8443, protocol: 'http' }), 'api.test', 8443)).reason, /disagree about what is spoken/);
});

test('requests by https are decided as those by http are', () => {
  const { layers } = allowed(connection(under({ deny: [{ host: 'api.test', http: { methods: ['DELETE'] } }] }, { host: 'api.test', http: { paths: ['/v1/**'] } }), 'api.test'));
  for (const [method, path, effect] of [['GET', '/v1/a', 'allow'], ['DELETE', '/v1/a', 'deny'], ['GET', '/v2', 'deny']] as const) {
    assert.equal(decideHttp(layers, { method, path, bodyBytes: null }).effect, effect, `${method} ${path}`);
  }
});
