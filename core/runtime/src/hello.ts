import { CaissonError } from '@caisson/contract';

/** What pid 1 reports of the sandbox, read from inside before anything of the agent runs. */
export interface Hello {
  readonly kernel: string;
  readonly version: string;
  readonly hostname: string;
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
  readonly landlockAbi: number;
  readonly rootReadOnly: boolean;
  readonly otherProcesses: number;
  /** Effective, permitted, inheritable, bounding and ambient capability sets, OR-ed, hex. */
  readonly capabilities: string;
  readonly noNewPrivileges: boolean;
  /** Seccomp mode of proc(5): 0 off, 1 strict, 2 filter. */
  readonly seccomp: number;
  readonly uidMap: string;
  /** Who owns the user namespace, as a uid inside: 0 is the sandbox's own root; -1 where nothing tells. */
  readonly namespaceOwner: number;
  /** Inotify instances that the user namespace allows each of its users; null where the kernel does not count them so. */
  readonly inotifyInstances: number | null;
  readonly inotifyWatches: number | null;
  readonly interfaces: readonly string[];
  /** Namespace kind to its link text, such as `pid:[4026532182]`. */
  readonly namespaces: Readonly<Record<string, string>>;
}

/** @throws CaissonError FRAME_INVALID when a field is missing or malformed. */
export function parseHello(payload: Buffer): Hello {
  const parts = payload.toString('utf8').split('\0');
  const values = new Map<string, string>();
  for (let i = 0; i + 1 < parts.length; i += 2) values.set(parts[i] ?? '', parts[i + 1] ?? '');
  const text = (name: string): string => {
    const value = values.get(name);
    if (value === undefined) throw new CaissonError('FRAME_INVALID', { detail: `a hello without ${name}` });
    return value;
  };
  const number = (name: string): number => {
    if (!/^-?\d{1,10}$/.test(text(name))) throw new CaissonError('FRAME_INVALID', { detail: `a hello whose ${name} is not a number` });
    return Number(text(name));
  };
  const bound = (name: string): number | null => {
    const value = text(name).trim();
    if (value === '') return null;
    if (!/^\d{1,10}$/.test(value)) throw new CaissonError('FRAME_INVALID', { detail: `a hello whose ${name} is not a number` });
    return Number(value);
  };
  const status = new Map(text('/proc/self/status').split('\n').map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).trim()]));
  const sets = ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'].map((name) => status.get(name) ?? '');
  const seccomp = status.get('Seccomp') ?? '';
  if (!/^\d$/.test(seccomp)) throw new CaissonError('FRAME_INVALID', { detail: 'a hello without a seccomp mode' });
  if (!sets.every((set) => /^[0-9a-f]{1,16}$/.test(set))) throw new CaissonError('FRAME_INVALID', { detail: 'a hello without capability sets' });
  return {
    kernel: text('kernel'),
    version: text('/proc/version').trim(),
    hostname: text('hostname'),
    pid: number('pid'),
    uid: number('uid'),
    gid: number('gid'),
    landlockAbi: number('landlock'),
    rootReadOnly: number('root_read_only') === 1,
    otherProcesses: number('other_processes'),
    capabilities: sets.reduce((all, set) => all | BigInt(`0x${set}`), 0n).toString(16),
    noNewPrivileges: status.get('NoNewPrivs') === '1',
    seccomp: Number(seccomp),
    namespaceOwner: number('user_namespace_owner'),
    inotifyInstances: bound('/proc/sys/user/max_inotify_instances'),
    inotifyWatches: bound('/proc/sys/user/max_inotify_watches'),
    uidMap: text('/proc/self/uid_map').trim().replace(/\s+/g, ' '),
    interfaces: [...text('/proc/net/dev').matchAll(/^\s*([^\s:|]+):/gm)].map((match) => match[1] ?? ''),
    namespaces: Object.fromEntries(
      [...values].filter(([name]) => name.startsWith('/proc/self/ns/')).map(([name, link]) => [name.slice('/proc/self/ns/'.length), link]),
    ),
  };
}
