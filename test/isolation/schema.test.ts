import assert from 'node:assert/strict';
import { test } from 'node:test';
import { IsolationSpec, type Mount } from '@caisson/contract';
import { toOci } from '@caisson/isolation';
import fc from 'fast-check';
import { CERTIFICATE, placement, specFor } from './given.ts';

const good = specFor({}, { network: true, certificate: CERTIFICATE });
const folder = '/run/caisson/sandboxes/sbx-0123456789abcdef/trust';
const denials = '/run/caisson/denials/198.19.0.1';
const here = { ...placement, denials, netns: '/run/caisson/netns', trust: { folder, lists: [{ at: '/etc/ssl/cert.pem', source: `${folder}/ca-bundle.crt` }] } };

function accepts(change: object): boolean {
  return IsolationSpec.safeParse({ ...good, ...change }).success;
}

test('the compiled spec is accepted, so that what follows is refused for its one difference', () => {
  assert.ok(accepts({}));
});

const FIELDS = ['source', 'src', 'path', 'host', 'from', 'target', 'destination', 'device', 'options', 'type', 'bind', 'propagation'];

test('no mount takes a field that could hold a host path, a device or an option', () => {
  fc.assert(fc.property(fc.constantFrom(...good.mounts), fc.oneof(fc.constantFrom(...FIELDS), fc.string()), fc.oneof(fc.string(), fc.constantFrom('/', '/etc', '/var/run/docker.sock')), (mount, field, value) => {
    fc.pre(!Object.hasOwn(mount, field) && field !== '__proto__');
    assert.ok(!accepts({ mounts: good.mounts.map((other) => (other === mount ? { ...mount, [field]: value } : other)) }));
  }));
});

test('there is no mount of another kind', () => {
  fc.assert(fc.property(fc.oneof(fc.constantFrom('bind', 'host', 'overlay', 'sysfs', 'cgroup', 'mqueue', 'device', 'socket'), fc.string()), (kind) => {
    fc.pre(!['proc', 'dev', 'etc', 'init', 'usr', 'tmpfs'].includes(kind)); // the others need more than their kind
    assert.ok(!accepts({ mounts: [...good.mounts, { kind }] }));
    assert.ok(!accepts({ mounts: [...good.mounts, { kind, source: '/etc' }] }));
  }));
});

test('a secret of a spec is the name of a file and a lease, and neither a path nor a value', () => {
  const secrets = { kind: 'secrets', sandbox: 'sbx-0123456789abcdef', files: [{ name: 'id_ed25519', lease: 'lea-0123456789abcdef' }] };
  const having = (more: object): boolean => accepts({ mounts: [...good.mounts, { ...secrets, ...more }] });
  assert.ok(having({}));
  const [file] = secrets.files;
  for (const files of [[], [{ ...file, name: '..' }], [{ ...file, name: 'a/b' }], [{ ...file, value: 'v' }], [{ ...file, lease: 'v' }], [{ name: 'a' }], [file, file], Array.from({ length: 33 }, (_, n) => ({ ...file, name: `${n}` }))]) assert.ok(!having({ files }), JSON.stringify(files).slice(0, 80));
  for (const wrong of [{ sandbox: '../x' }, { path: '/etc' }, { at: '/etc' }]) assert.ok(!having(wrong), JSON.stringify(wrong));
});

test('what a sandbox trusts is one certificate as PEM and no place', () => {
  const trusting = (certificate: unknown): boolean => accepts({ mounts: good.mounts.map((mount) => (mount.kind === 'trust' ? { ...mount, certificate } : mount)) });
  assert.ok(trusting(CERTIFICATE));
  const key = CERTIFICATE.replaceAll('CERTIFICATE', 'PRIVATE KEY');
  for (const other of ['', '/etc/ssl/cert.pem', key, `${CERTIFICATE}${key}`, `${CERTIFICATE}${CERTIFICATE}`, `words\n${CERTIFICATE}`, CERTIFICATE.replace('bm90', 'bm90'.repeat(5_000)), null, undefined]) {
    assert.ok(!trusting(other), String(other).slice(0, 80));
  }
});

test('a tmpfs lies at one of three places and nowhere else', () => {
  const at = (place: string): unknown[] => good.mounts.map((mount) => (mount.kind === 'tmpfs' && mount.at === '/tmp' ? { ...mount, at: place } : mount));
  fc.assert(fc.property(fc.oneof(fc.constantFrom('/', '/usr', '/etc', '/proc', '/tmp/', '/tmp/..', 'tmp'), fc.string()), (place) => {
    fc.pre(!['/dev/shm', '/tmp', '/workspace'].includes(place));
    assert.ok(!accepts({ mounts: at(place) }));
  }));
});

test('a spec has no field beyond those of the schema, and no image but host', () => {
  assert.ok(!accepts({ devices: [{ path: '/dev/kvm' }] }));
  assert.ok(!accepts({ hooks: { prestart: [] } }));
  assert.ok(!accepts({ rootfs: '/' }));
  assert.ok(!accepts({ image: '/' }));
  assert.ok(!accepts({ user: { uid: 0, gid: 0 } }));
  assert.ok(!accepts({ hostname: '../../etc' }));
  assert.ok(!accepts({ id: '../../etc' }));
});

test('of the host, an OCI config names the rootfs, the init binary, /usr and files that are the sandbox\'s own, and all of them are read-only', () => {
  const config = toOci(good, here);
  const binds = config.mounts.filter(({ type, options }) => type === 'bind' || options.some((option) => option.includes('bind')));
  assert.deepEqual(binds.map(({ source, destination }) => [source, destination]), [[folder, '/etc/caisson'], [`${folder}/ca-bundle.crt`, '/etc/ssl/cert.pem'], [denials, '/run/caisson']]);
  const usr = config.mounts.find(({ destination }) => destination === '/usr');
  assert.ok(usr?.options.includes(`lowerdir=/usr:${placement.rootfs}/mnt`));
  for (const { options = [] } of [...binds, ...(usr === undefined ? [] : [usr])]) for (const option of ['ro', 'nosuid', 'nodev']) assert.ok(options.includes(option));
  assert.deepEqual(config.root, { path: placement.rootfs, readonly: true });
  const sources = new Set(config.mounts.filter(({ type }) => type !== 'bind').map(({ source }) => source));
  assert.deepEqual([...sources].toSorted(), ['overlay', 'proc', 'tmpfs']);
});

test('no mount inside lets a set-user-id program or a device through', () => {
  const config = toOci(good, here);
  for (const { destination, options } of config.mounts) {
    assert.ok(options.includes('nosuid'), destination);
    // /dev holds the harmless nodes that the runtime makes; /dev/pts holds terminals.
    if (!['/dev', '/dev/pts'].includes(destination)) assert.ok(options.includes('nodev'), destination);
  }
});

test('every writable mount has a size and a number of files, or root alone may write to it', () => {
  const sized = (mount: Mount): boolean => mount.kind === 'tmpfs' && mount.bytes > 0 && mount.inodes > 0;
  const writable = toOci(good, here).mounts.filter(({ options, destination }) => !options.includes('ro') && !['/proc', '/dev', '/dev/pts'].includes(destination));
  assert.deepEqual(writable.map(({ destination }) => destination), good.mounts.filter(sized).map((mount) => (mount.kind === 'tmpfs' ? mount.at : '')));
  for (const { options } of writable) assert.ok(options.some((option) => /^size=[1-9]\d*$/.test(option)) && options.some((option) => /^nr_inodes=[1-9]\d*$/.test(option)));
});
