import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { IsolationSpec, Mount } from '@caisson/contract';
import { toDocker, type DockerPlacement } from '@caisson/isolation';
import { CERTIFICATE, specFor } from './given.ts';

const placement: DockerPlacement = {
  imageId: `sha256:${'cd'.repeat(32)}`,
  etc: { shared: '/run/images/host/etc', own: '/run/sandboxes/sbx-0123456789abcdef/etc' },
  empty: '/run/images/host/mnt',
  id: 20_007,
  cgroupParent: '/caisson/instance/sbx-0123456789abcdef',
  swapAccounting: true,
  socketLimit: true,
  arch: 'x64',
  labels: { 'io.caisson.sandbox': 'sbx-0123456789abcdef' },
};
const written = ['hostname', 'hosts', 'resolv.conf'];
const { HostConfig: host, ...container } = toDocker(specFor(), placement);

test('a container has the id of its sandbox inside and no privilege at all', () => {
  assert.equal(container.User, '20007:20007');
  assert.deepEqual([host.Privileged, host.CapDrop, host.CapAdd, host.ReadonlyRootfs], [false, ['ALL'], [], true]);
  assert.ok(host.SecurityOpt.includes('no-new-privileges'));
  assert.equal(host.SecurityOpt.length, 2);
});

test('a container takes the filter of the spec, not the daemon\'s own', () => {
  const [filter] = host.SecurityOpt.flatMap((option) => (option.startsWith('seccomp=') ? [JSON.parse(option.slice('seccomp='.length)) as Record<string, unknown>] : []));
  assert.equal(filter?.['defaultAction'], 'SCMP_ACT_ERRNO');
  assert.deepEqual(filter['architectures'], ['SCMP_ARCH_X86_64']);
});

test('a container shares no namespace, has no network and is not started again', () => {
  assert.deepEqual([host.NetworkMode, host.IpcMode, host.CgroupnsMode, host.RestartPolicy], ['none', 'private', 'private', { Name: 'no' }]);
  assert.ok(!('PidMode' in host) && !('UTSMode' in host) && !('UsernsMode' in host));
});

test('a container has every limit of the spec', () => {
  const { limits, rlimits } = specFor();
  assert.deepEqual([host.Memory, host.MemorySwap, host.PidsLimit], [limits.memoryBytes, limits.memoryBytes, limits.pids]);
  assert.equal((host.CpuQuota / host.CpuPeriod) * 1000, limits.cpuMillis);
  assert.equal(host.KernelMemoryTCP, limits.memoryBytes / 4);
  assert.deepEqual(host.Ulimits, rlimits.map(({ name, value }) => ({ Name: name, Hard: value, Soft: value })));
});

test('nothing of the host is mounted but read-only views of /usr and of the made /etc', () => {
  assert.ok(!('Binds' in host) && !('Devices' in host) && !('VolumesFrom' in host));
  assert.deepEqual(host.Mounts.map(({ Type, Target }) => `${Type} ${Target}`), ['volume /usr', 'volume /etc', ...written.map((name) => `bind /etc/${name}`)]);
  for (const mount of host.Mounts) {
    if (mount.Type === 'bind') continue;
    const { DriverConfig } = mount.VolumeOptions;
    assert.equal(DriverConfig.Options.type, 'overlay');
    assert.match(DriverConfig.Options.o, /^ro,nosuid,nodev,lowerdir=[^,]+:[^,]+$/);
    assert.doesNotMatch(DriverConfig.Options.o, /upperdir|workdir/);
  }
});

test('all that can be written is a tmpfs of limited size and number of files', () => {
  assert.deepEqual(Object.keys(host.Tmpfs).toSorted(), ['/dev/shm', '/tmp', '/workspace']);
  for (const options of Object.values(host.Tmpfs)) assert.match(options, /nosuid.*nodev.*size=[1-9]\d*,nr_inodes=[1-9]\d*$/);
  assert.match(host.Tmpfs['/workspace'] ?? '', /mode=0700,uid=20007,gid=20007/);
});

test('what Docker mounts unasked is covered, terminals too where there are none', () => {
  const covered = (paths: readonly string[]): string[] => ['/sys', '/dev/mqueue', '/dev/pts'].filter((path) => paths.includes(path));
  assert.deepEqual(covered(host.MaskedPaths), ['/sys', '/dev/mqueue', '/dev/pts']);
  const spec = specFor();
  const withTerminals = toDocker({ ...spec, mounts: [...spec.mounts.slice(0, 2), { kind: 'pts', terminals: 16 }, ...spec.mounts.slice(2)] }, placement).HostConfig;
  assert.deepEqual(covered(withTerminals.MaskedPaths), ['/sys', '/dev/mqueue']);
  const [first] = withTerminals.Mounts;
  assert.match(first?.Type === 'volume' ? first.VolumeOptions.DriverConfig.Options.o : '', /newinstance.*max=16/);
});

test('what Docker would tell of the host\'s names lies under files that are the sandbox\'s own and cannot be written', () => {
  const bound = host.Mounts.filter((mount) => mount.Type === 'bind');
  assert.deepEqual(bound.map(({ Source, Target, ReadOnly }) => [Source, Target, ReadOnly]), written.map((name) => [`${placement.etc.own}/${name}`, `/etc/${name}`, true]));
});

test('pid 1 waits for its bounds and its link, and a container has no network of Docker\'s', () => {
  assert.deepEqual(container.Entrypoint, ['/.caisson/init', '--wait']);
  const linked = toDocker({ ...specFor(), network: 'gate' }, placement);
  assert.deepEqual(linked.Entrypoint, ['/.caisson/init', '--wait']);
  assert.equal(linked.HostConfig.NetworkMode, 'none');
  assert.deepEqual([linked.HostConfig.CapDrop, linked.HostConfig.CapAdd], [['ALL'], []]);
  assert.ok(!('PortBindings' in linked.HostConfig) && !('ExtraHosts' in linked.HostConfig) && !('Links' in linked.HostConfig) && !('NetworkingConfig' in linked));
});

test('an authority of the sandbox\'s own is mounted over the lists of its image, and nothing is launched where it was not written', () => {
  const spec = specFor();
  const trusting: IsolationSpec = { ...spec, mounts: [...spec.mounts, { kind: 'trust', certificate: CERTIFICATE }] };
  const { HostConfig: { Mounts } } = toDocker(trusting, { ...placement, trust: { folder: '/run/s/trust', lists: [{ at: '/etc/ssl/certs/ca-certificates.crt', source: '/run/s/trust/ca-bundle.crt' }] } });
  assert.deepEqual(Mounts.flatMap((mount) => (mount.Type === 'bind' && mount.Source.startsWith('/run/s/') ? [[mount.Target, mount.ReadOnly]] : [])), [['/etc/caisson', true], ['/etc/ssl/certs/ca-certificates.crt', true]]);
  assert.throws(() => toDocker(trusting, placement), { code: 'LAUNCH_FAILED', message: /was not written/ });
});

test('LAUNCH_FAILED: a workspace, another image, a secret that is a file or a mount that Docker does not know has no place in Docker', () => {
  const spec = specFor();
  assert.throws(() => toDocker({ ...spec, image: `sha256:${'ab'.repeat(32)}` }, placement), { code: 'LAUNCH_FAILED' });
  assert.throws(() => toDocker({ ...spec, mounts: [...spec.mounts, { kind: 'of tomorrow' } as unknown as Mount] }, placement), { code: 'LAUNCH_FAILED', message: /cannot mount of tomorrow/ });
  assert.throws(() => toDocker({ ...spec, mounts: [...spec.mounts, { kind: 'secrets', sandbox: spec.id, files: [{ name: 'key', lease: 'lea-0123456789abcdef' }] }] }, placement), { code: 'LAUNCH_FAILED' });
  assert.throws(() => toDocker({ ...spec, mounts: [...spec.mounts, { kind: 'workspace', workspace: 'ws-0123456789abcdef' }] }, placement), { code: 'LAUNCH_FAILED' });
});
