import { execFile } from 'node:child_process';
import { chmod, copyFile, cp, mkdir, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { DENIALS_FOLDER, RESOLV_CONF, SECRETS_FOLDER, TRUST_BUNDLE, TRUST_CERTIFICATE, TRUST_FOLDER } from '@caisson/contract';
import { DOCKER_WRITES } from '@caisson/isolation';

/**
 * The image `host`: an empty root whose /usr is the host's, mounted read-only, and whose /etc is made here. Of the
 * host's own /etc only what programs need to run is copied: loader cache, alternatives, CA certificates, time zone.
 */
const ACCOUNTS = [
  { name: 'root', id: 0, home: '/', shell: '/usr/sbin/nologin' },
  { name: 'agent', id: 1000, home: '/workspace', shell: '/bin/sh' },
  { name: 'nobody', id: 65_534, home: '/', shell: '/usr/sbin/nologin' },
] as const;

/** Files of /etc in which the agent has this id. */
function accountFiles(agentId: number): Readonly<Record<'passwd' | 'group', string>> {
  const accounts = ACCOUNTS.map((account) => (account.name === 'agent' ? { ...account, id: agentId } : account));
  return {
    passwd: accounts.map(({ name, id, home, shell }) => `${name}:x:${id}:${id}:${name}:${home}:${shell}\n`).join(''),
    group: accounts.map(({ name, id }) => `${name === 'nobody' ? 'nogroup' : name}:x:${id}:\n`).join(''),
  };
}

const { passwd, group } = accountFiles(1000);
const FILES: Readonly<Record<string, string>> = {
  'etc/passwd': passwd,
  'etc/group': group,
  'etc/hosts': '127.0.0.1 localhost\n::1 localhost\n',
  'etc/hostname': 'caisson\n',
  'etc/resolv.conf': RESOLV_CONF,
  [`${TRUST_FOLDER.slice(1)}/${TRUST_BUNDLE}`]: '',
  [`${TRUST_FOLDER.slice(1)}/${TRUST_CERTIFICATE}`]: '',
  'etc/nsswitch.conf': 'passwd: files\ngroup: files\nhosts: files dns\n',
};

const FOLDERS = ['.caisson', 'dev', TRUST_FOLDER.slice(1), 'home', 'mnt', 'opt', 'proc', 'root', SECRETS_FOLDER.slice(1), 'srv', 'sys', 'tmp', 'usr', 'var/tmp', 'var/lib', 'var/log', 'workspace'];
const LINKS = { bin: 'usr/bin', sbin: 'usr/sbin', lib: 'usr/lib', lib64: 'usr/lib64', 'etc/mtab': '/proc/mounts', 'etc/os-release': '../usr/lib/os-release' };
const COPIED = ['etc/ld.so.cache', 'etc/ld.so.conf', 'etc/alternatives', 'etc/ssl/certs', 'etc/localtime', 'etc/timezone', 'etc/debian_version', 'etc/mime.types', 'etc/protocols', 'etc/services'];

export interface HostImage {
  readonly rootfs: string;
  readonly initPath: string;
  /** The program caisson-users, where root inside can execute it. */
  readonly usersPath: string;
  /** Holds the root of every sandbox that runs from another image, while it runs. */
  readonly roots: string;
}

/** Makes the image and the copies of pid 1 and of caisson-users, which lies beside it, under `images`; an image of an earlier start is replaced as a whole. */
export async function prepareHostImage(images: string, initBinary: string): Promise<HostImage> {
  const rootfs = `${images}/host`;
  const fresh = `${images}/host.new`;
  await rm(fresh, { recursive: true, force: true });
  for (const folder of [...FOLDERS, DENIALS_FOLDER.slice(1)]) await mkdir(`${fresh}/${folder}`, { recursive: true });
  for (const [name, target] of Object.entries(LINKS)) await symlink(target, `${fresh}/${name}`);
  const java = (await readdir('/etc')).filter((name) => name.startsWith('java')).map((name) => `etc/${name}`); // a JVM does not start without
  for (const name of [...COPIED, ...java]) await copyFromHost(name, fresh);
  for (const [name, text] of Object.entries(FILES)) await writeFile(`${fresh}/${name}`, text);
  await copyFile(initBinary, `${fresh}/.caisson/init`);
  await chmod(`${fresh}/.caisson/init`, 0o755);
  // runc before 1.2 gives a tmpfs the mode of the folder that it covers.
  await chmod(`${fresh}/tmp`, 0o1777);
  await chmod(`${fresh}/workspace`, 0o700);
  await rm(rootfs, { recursive: true, force: true });
  await rename(fresh, rootfs);
  const initPath = `${images}/init`;
  await copyFile(initBinary, `${initPath}.new`);
  await chmod(`${initPath}.new`, 0o755);
  await rename(`${initPath}.new`, initPath);
  const usersPath = `${images}/users`;
  await copyFile(`${dirname(initBinary)}/caisson-users`, `${usersPath}.new`);
  await chmod(`${usersPath}.new`, 0o755);
  await rename(`${usersPath}.new`, usersPath);
  const roots = `${images}/roots`;
  await mkdir(roots, { recursive: true });
  await chmod(roots, 0o711); // the uids of sandboxes pass through it
  return { rootfs, initPath, usersPath, roots };
}

/**
 * Makes a folder to lay over /etc, for a sandbox whose agent has another id than the image says. What Docker would write in
 * the host's words is there too, in files that are this sandbox's alone.
 */
export async function writeOwnEtc(folder: string, agentId: number): Promise<void> {
  await mkdir(folder, { recursive: true });
  await chmod(folder, 0o755);
  const named = DOCKER_WRITES.map((name) => [name, FILES[`etc/${name}`] ?? ''] as const);
  for (const [name, text] of [...Object.entries(accountFiles(agentId)), ...named]) {
    await writeFile(`${folder}/${name}`, text);
    await chmod(`${folder}/${name}`, 0o644);
  }
}

async function copyFromHost(name: string, root: string): Promise<void> {
  try {
    await cp(`/${name}`, `${root}/${name}`, { recursive: true, verbatimSymlinks: true, errorOnExist: false });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

const run = promisify(execFile);

/**
 * Shows a folder at another place, in the launcher's private mount namespace: the folders above the one may be closed to
 * the uids that must pass those above the other.
 */
export async function showFolder(folder: string, at: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  await mkdir(at, { recursive: true });
  await run('/bin/mount', ['--bind', folder, at]);
}

/**
 * crun before 1.9 refuses a hybrid cgroup mount. Called in the launcher's private mount namespace, this takes the
 * `unified` mount out of its sight; the host keeps it.
 */
export async function hideUnifiedCgroup(): Promise<void> {
  const mounts = await readFile('/proc/self/mounts', 'utf8');
  if (!/ \/sys\/fs\/cgroup\/unified cgroup2 /.test(mounts)) return;
  await run('umount', ['/sys/fs/cgroup/unified']);
}
