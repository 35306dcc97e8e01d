import { chmodSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { DENIALS_FOLDER, RESOLV_CONF, SECRETS_FOLDER, TRUST_BUNDLE, TRUST_CERTIFICATE, TRUST_FOLDER } from '@caisson/contract';
import { invalid } from './tar.ts';
import { fileAt, type Folder } from './tree.ts';

/**
 * What a sandbox needs and an image may lack: places to mount on and an account of its own. It is a layer that lies over
 * the image's files, which stay as they came: what was verified is what is on disk.
 */
const AGENT = { name: 'agent', id: 1000 } as const;
const PASSWD = `${AGENT.name}:x:${AGENT.id}:${AGENT.id}:${AGENT.name}:/workspace:/bin/sh`;
const GROUP = `${AGENT.name}:x:${AGENT.id}:`;
const ACCOUNTS_BYTES_MAX = 1_048_576;

const TRUST = TRUST_FOLDER.slice(1);
/** What is mounted below run: the denials of the gate, and the files of secrets. */
const [DENIALS, SECRETS] = [DENIALS_FOLDER.slice(1), SECRETS_FOLDER.slice(1)] as const;

/** Its own modes, because a runtime gives a tmpfs the mode of the folder below it (runc before 1.2). */
const FOLDERS: Readonly<Record<string, number>> = {
  '': 0o755, '.caisson': 0o755, dev: 0o755, etc: 0o755, [TRUST]: 0o755, proc: 0o755, run: 0o755, [DENIALS]: 0o755, [SECRETS]: 0o755, sys: 0o755, tmp: 0o1777, workspace: 0o700,
};

/** Files of the layer by path. `read` gives the text of a file of the image, one character per byte. */
export function additionsFor(root: Folder, read: (content: number) => string): Readonly<Record<string, string>> {
  const etc = root.children.get('etc');
  if (etc !== undefined && etc.kind !== 'folder') throw invalid('its /etc is not a folder');
  return {
    '.caisson/init': '', // where pid 1 is mounted
    'etc/passwd': accounts(root, read, { path: 'etc/passwd', own: PASSWD, others: ['root:x:0:0:root:/:/bin/sh', 'nobody:x:65534:65534:nobody:/:/bin/false'] }),
    'etc/group': accounts(root, read, { path: 'etc/group', own: GROUP, others: ['root:x:0:', 'nogroup:x:65534:'] }),
    'etc/hosts': '127.0.0.1 localhost\n::1 localhost\n',
    'etc/hostname': 'caisson\n',
    'etc/resolv.conf': RESOLV_CONF,
    [`${TRUST}/${TRUST_BUNDLE}`]: '',
    [`${TRUST}/${TRUST_CERTIFICATE}`]: '',
  };
}

interface Accounts {
  readonly path: string;
  readonly own: string;
  /** Accounts where the image has none. */
  readonly others: readonly string[];
}

/** The image's accounts without whoever has the agent's name or number, and the agent. */
function accounts(root: Folder, read: (content: number) => string, { path, own, others }: Accounts): string {
  const file = fileAt(root, path);
  if (file !== null && file.sizeBytes > ACCOUNTS_BYTES_MAX) throw invalid(`its /${path} has ${file.sizeBytes} bytes`);
  const lines = file === null ? others : read(file.content).split('\n');
  const kept = lines.filter((line) => {
    const [name, , id] = line.split(':');
    return line !== '' && name !== AGENT.name && id !== String(AGENT.id);
  });
  return [...kept, own, ''].join('\n');
}

/** Gives the layer of an image that was unpacked earlier what such layers have by now. */
export function completeAdditions(at: string): void {
  for (const name of [TRUST, 'run', DENIALS, SECRETS]) {
    mkdirSync(`${at}/${name}`, { recursive: true });
    chmodSync(`${at}/${name}`, 0o755);
  }
  for (const name of [TRUST_BUNDLE, TRUST_CERTIFICATE]) if (!existsSync(`${at}/${TRUST}/${name}`)) writeFileSync(`${at}/${TRUST}/${name}`, '', { mode: 0o644 });
}

/** Writes the layer into a folder that is new. */
export function writeAdditions(at: string, files: Readonly<Record<string, string>>): void {
  for (const name of Object.keys(FOLDERS)) mkdirSync(`${at}/${name}`);
  for (const [name, text] of Object.entries(files)) {
    writeFileSync(`${at}/${name}`, Buffer.from(text, 'latin1'), { flag: 'wx' });
    chmodSync(`${at}/${name}`, 0o644);
  }
  for (const [name, mode] of Object.entries(FOLDERS)) chmodSync(`${at}/${name}`, mode);
}
