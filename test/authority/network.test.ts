import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decideNetwork } from '@caisson/authority';
import { EgressRule, NetworkPolicy, portOf } from '@caisson/contract';
import { decideConnection, layersOf } from '@caisson/egress';
import fc from 'fast-check';

const refused = (policy: NetworkPolicy, ...rules: readonly EgressRule[]): string | null => decideNetwork({ rules: rules.map((rule) => EgressRule.parse(rule)) }, NetworkPolicy.parse(policy))?.reason ?? null;

test('EGRESS_EXCEEDS_POLICY: what a rule without a port denies is refused at every port', () => {
  assert.equal(refused({ deny: [{ host: 'db.test' }] }, { host: 'db.test', port: 5432 }), 'db.test:5432 may not be asked for: the policy denies it by "deny db.test:*"');
  assert.match(refused({ deny: [{ host: '*.corp.test' }] }, { host: '*.a.corp.test', port: 80 }) ?? '', /denies it/);
  assert.match(refused({ allow: [{ host: '*.corp.test', port: 22 }, { host: 'a.corp.test', effect: 'deny' }] }, { host: 'a.corp.test', port: 22 }) ?? '', /denies it/);
  assert.equal(refused({ deny: [{ host: 'db.test', port: 22 }] }, { host: 'db.test', port: 5432 }), null);
});

test('a rule of the policy that denies some requests, only records or is narrower than what is asked for refuses nothing yet', () => {
  assert.equal(refused({ deny: [{ host: 'api.test', port: 80, protocol: 'http', http: { methods: ['DELETE'] } }] }, { host: 'api.test', port: 80 }), null);
  assert.equal(refused({ deny: [{ host: 'api.test', auditOnly: true }] }, { host: 'api.test' }), null);
  assert.equal(refused({ deny: [{ host: 'a.corp.test' }] }, { host: '*.corp.test' }), null);
  assert.equal(refused({}, { host: 'a.test', effect: 'deny' }), null);
});

test('EGRESS_EXCEEDS_POLICY: rules that disagree about what is spoken are refused, as the gate would at every attempt', () => {
  assert.match(refused({ allow: [{ host: 'a.test' }] }, { host: 'a.test', protocol: 'http' }) ?? '', /disagree about what is spoken there: http and tls/);
  assert.match(refused({}, { host: '*.corp.test' }, { host: 'a.corp.test', protocol: 'http' }) ?? '', /disagree/);
  assert.equal(refused({ allow: [{ host: 'a.test', protocol: 'tcp' }] }, { host: 'a.test', protocol: 'http' }), null);
});

test('EGRESS_EXCEEDS_POLICY: a policy may forbid to learn; one that does not say so lets a call learn within it', () => {
  const learning = (policy: NetworkPolicy): string | null => decideNetwork({ rules: [], learn: true }, NetworkPolicy.parse(policy))?.reason ?? null;
  assert.equal(learning({ learn: false }), 'any name:any port may not be asked for: the policy forbids to learn');
  for (const policy of [{}, { learn: true }, { allow: [] }, { allow: [{ host: 'a.test' }], deny: [{ host: 'b.test' }] }]) assert.equal(learning(policy), null);
  assert.equal(decideConnection(layersOf({ learn: false }, { rules: [], learn: true }), { host: 'a.test', port: 443 }).effect, 'deny', 'the gate holds to it, too');
});

const HOSTS = ['corp.test', 'a.corp.test', 'b.a.corp.test', 'other.test'];
const anyRule = fc.record({
  host: fc.constantFrom(...HOSTS, '*.corp.test', '*.a.corp.test'),
  port: fc.constantFrom(80, 443, 5432),
  protocol: fc.constantFrom('tls' as const, 'http' as const, 'tcp' as const),
  http: fc.constant({ methods: ['GET'] }),
  effect: fc.constantFrom('allow' as const, 'deny' as const),
  auditOnly: fc.boolean(),
}, { requiredKeys: ['host'] }).map(({ http, ...rest }): EgressRule => (rest.protocol === 'http' && http !== undefined ? { ...rest, http } : rest));
/** In the list of what is denied, a rule denies whether it says so or not. */
const denials = fc.array(fc.tuple(anyRule, fc.boolean()), { maxLength: 3 }).map((rules) => rules.map(([rule, says]) => JSON.parse(JSON.stringify({ ...rule, effect: says ? 'deny' : undefined })) as EgressRule));
const anyNetwork = fc.record({ allow: fc.array(anyRule, { maxLength: 5 }), deny: denials }, { requiredKeys: [] }) as fc.Arbitrary<NetworkPolicy>;

/** A destination that a rule names and that no rule of these tests names more narrowly. */
const destinationOf = (rule: EgressRule): { host: string; port: number } => ({ host: rule.host.replace('*', 'fresh'), port: portOf(rule) });

test('what is let through is allowed by the gate where no rule of the request itself denies it, and what is refused is refused by the gate', () => {
  let through = 0;
  let held = 0;
  fc.assert(fc.property(fc.array(anyRule, { minLength: 1, maxLength: 4 }), anyNetwork, (rules, policy) => {
    const layers = layersOf(policy, { rules });
    const denied = decideNetwork({ rules }, policy);
    const allowing = rules.filter(({ effect }) => effect !== 'deny');
    if (denied === null) {
      const own = layersOf(policy, { rules: rules.filter((rule) => rule.effect !== 'deny' || rule.http !== undefined) });
      for (const rule of allowing) assert.equal(decideConnection(own, destinationOf(rule)).effect, 'allow', JSON.stringify(rule));
      through += allowing.length;
    } else {
      const culprit = { host: String(denied.context['host']), port: Number(denied.context['port']) };
      assert.ok(allowing.some((rule) => rule.host === culprit.host && portOf(rule) === culprit.port));
      assert.equal(decideConnection(layers, destinationOf(culprit)).effect, 'deny', denied.reason);
      held += 1;
    }
  }), { numRuns: 5_000 });
  assert.ok(through > 500 && held > 500, `${through} let through, ${held} held back: both are put to the test`);
});

test('a deny rule of the policy only narrows what may be asked for', () => {
  fc.assert(fc.property(fc.array(anyRule, { maxLength: 4 }), anyNetwork, anyRule, (rules, policy, more) => {
    const narrower = decideNetwork({ rules }, { ...policy, deny: [...(policy.deny ?? []), { ...more, effect: 'deny' }] });
    if (narrower === null) assert.equal(decideNetwork({ rules }, policy), null);
  }), { numRuns: 2_000 });
});
