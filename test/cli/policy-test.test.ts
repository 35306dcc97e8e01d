import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { after, test } from 'node:test';
import { shippedPolicy } from '../isolation/given.ts';
import { cli, type Said } from './given.ts';

const dir = mkdtempSync(`${tmpdir()}/caisson-policy-test-`);
after(() => rmSync(dir, { recursive: true }));

/** Writes files beside each other and tests the last of them. */
function tested(files: Readonly<Record<string, unknown>>, ...options: readonly string[]): Promise<Said> {
  for (const [name, value] of Object.entries(files)) writeFileSync(`${dir}/${name}`, typeof value === 'string' ? value : JSON.stringify(value));
  return cli(process.env, ['policy', 'test', `${dir}/${Object.keys(files).at(-1) ?? ''}`, ...options]);
}

const policy = { ...shippedPolicy, network: { deny: [{ host: 'tracker.test' }], allow: [{ host: '*.example.com' }, { host: 'tracker.test' }] } };
const rules = { rules: [{ host: 'api.example.com', http: { methods: ['GET'], paths: ['/v1/**'] } }, { host: 'tracker.test' }] };

test('policy test reads what stands beside the file, needs no daemon, and exits 0 where all is as expected', async () => {
  const { status, stdout, stderr } = await tested({
    'policy.json': policy, 'rules.json': rules,
    'ok.json': { policy: 'policy.json', rules: 'rules.json', allow: ['api.example.com:443', { host: 'api.example.com', path: '/v1/models' }], deny: ['tracker.test:443', '169.254.169.254:80', { host: 'api.example.com', method: 'DELETE', path: '/v1/models' }] },
  });
  assert.deepEqual([status, stdout.toString()], [0, ''], stderr);
  assert.match(stderr, /5 of 5 expectations are met/);
});

test('policy test prints each failure with the reason and what would allow it, and exits 1', async () => {
  const file = { policy: policy.network, rules: rules.rules, allow: ['tracker.test', 'b.example.com:443'], deny: ['api.example.com:443'] };
  const { status, stdout } = await tested({ 'bad.json': file });
  assert.equal(status, 1);
  assert.equal(stdout.toString(), `not allowed: tracker.test:443: tracker.test:443 is denied by "deny tracker.test:*" of the organisation
  would be allowed by: taking "deny tracker.test:*" out of the rules of the organisation
not allowed: b.example.com:443: no rule of the call allows b.example.com:443
  would be allowed by: --allow b.example.com:443
not denied: api.example.com:443: api.example.com:443 is allowed by "allow *.example.com:443" of the organisation, "allow api.example.com:443" of the call
  would be denied by: a rule that denies it, or narrower rules that allow
`);
  const { expectations, failures } = JSON.parse((await tested({ 'bad.json': file }, '--json')).stdout.toString()) as { expectations: number; failures: readonly { what: string }[] };
  assert.deepEqual([expectations, failures.map(({ what }) => what)], [3, ['tracker.test:443', 'b.example.com:443', 'api.example.com:443']]);
});

const bad: readonly (readonly [string, Readonly<Record<string, unknown>>, RegExp])[] = [
  ['that is no JSON', { 'x.json': '{' }, /x\.json is not JSON/],
  ['that expects nothing', { 'x.json': { rules: [] } }, /x\.json: the file: expects nothing/],
  ['without policy or rules', { 'x.json': { allow: ['a.test'] } }, /x\.json: the file: needs policy, rules or both/],
  ['with a rule for an address', { 'x.json': { rules: [{ host: '10.0.0.1' }], allow: ['a.test'] } }, /x\.json: rules\.0\.host: must be a host name/],
  ['with a port that is none', { 'x.json': { rules: [], deny: ['a.test', { host: 'b.test', port: 0 }] } }, /x\.json: deny\.1\.port: /],
  ['with a field that there is not', { 'x.json': { rules: [], deny: ['a.test'], denny: [] } }, /x\.json: the file: .*denny/],
  ['with a URL', { 'x.json': { rules: [], allow: ['https://a.test/'] } }, /x\.json: allow\.0: must be HOST/],
  ['that names a file that is not there', { 'x.json': { rules: 'none.json', allow: ['a.test'] } }, /none\.json/],
  ['whose policy is bad', { 'p.json': { version: 1, network: { deny: [{ host: '*.com' }] } }, 'x.json': { policy: 'p.json', allow: ['a.test'] } }, /p\.json: network\.deny\.0\.host: is too broad/],
];
for (const [what, files, error] of bad) {
  test(`policy test refuses a file ${what}, naming the file and the field, and exits 2`, async () => {
    const { status, stdout, stderr } = await tested(files);
    assert.deepEqual([status, stdout.toString()], [2, '']);
    assert.match(stderr, error);
    assert.match(stderr, /^caisson: USAGE: /);
  });
}

test('completion knows the commands about rules, and a missing command is told', async () => {
  const script = (await cli(process.env, ['completion', 'bash'])).stdout.toString();
  for (const line of ["'egress') words='learn replay --help'", "'policy') words='test --help'", '--wildcards', "'egress replay --sandbox') words=''; kinds='sandboxes'"]) assert.ok(script.includes(line), line);
  assert.match((await cli(process.env, ['egress', 'learn', '--help'])).stdout.toString(), /Without it all that the command writes goes to\s+stderr/);
  assert.equal((await cli(process.env, ['egress', 'learn'])).status, 125);
});
