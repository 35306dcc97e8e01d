import { levelOf, type HostFacts, type IsolationSpec, type Level, type RuntimeFacts } from '@caisson/contract';
import { USER_COUNTS } from '@caisson/isolation';
import type { Hello, Machine } from '@caisson/runtime';

export interface Attestation {
  /** The level measured from inside; null when it is none. */
  readonly delivered: Level | null;
  /** What is weaker than the spec, one sentence each. Empty: the spec holds. */
  readonly findings: readonly string[];
}

type Check = (spec: IsolationSpec, hello: Hello, host: HostFacts) => string | null;

const expectEqual = (what: string, expected: unknown, seen: unknown): string | null =>
  expected === seen ? null : `${what} is ${String(seen)}, not ${String(expected)}`;

/** Whether the kernel that pid 1 saw is the host's. gVisor names itself in its release string. */
function kernelIsOwn(hello: Hello, host: HostFacts): boolean {
  return hello.kernel !== host.kernel && /gvisor/.test(hello.kernel);
}

const checks: readonly Check[] = [
  (_, hello) => expectEqual('pid 1', 1, hello.pid),
  (_, hello) => expectEqual('the union of all capability sets', '0', hello.capabilities),
  (_, hello) => expectEqual('no_new_privs', true, hello.noNewPrivileges),
  (_, hello) => expectEqual('the seccomp mode', 2, hello.seccomp),
  (_, hello) => expectEqual('a read-only root', true, hello.rootReadOnly),
  (spec, hello) => expectEqual('the list of network interfaces', spec.network === 'none' ? 'lo' : 'eth0,lo', hello.interfaces.toSorted().join(',')),
  (spec, hello) => expectEqual('the host name', spec.hostname, hello.hostname),
  (spec, hello) => (spec.landlock && hello.landlockAbi < 1 ? 'Landlock is not in force' : null),
  (spec, hello) => (spec.level === 'container' ? mapped(hello) : null),
  (spec, hello) => (spec.level === 'container' ? counted(hello) : null),
  (spec, hello, host) => (spec.level === 'gvisor' && !kernelIsOwn(hello, host) ? `the kernel is ${hello.kernel}, which is not the sandbox's own` : null),
];

/** Nothing runs before a command is asked for; in a sandbox that goes on from saved memory, what was saved does. */
const alone: Check = (_, hello) => expectEqual('the number of other processes', 0, hello.otherProcesses);

/** On the host's kernel every uid inside must be another one outside: one that is itself means that no user namespace is in force. */
function mapped({ uidMap }: Hello): string | null {
  const ranges = [...uidMap.matchAll(/(\d+) (\d+) \d+/g)];
  const own = ranges.length > 0 && ranges.every(([, inside, outside]) => inside !== outside);
  return own ? null : 'no user namespace is in force';
}

/** What the kernel counts by user it charges to the owner of the user namespace too: the sandbox's own root, or it must be bounded. */
function counted({ namespaceOwner, inotifyInstances, inotifyWatches }: Hello): string | null {
  const within = (seen: number | null, most: number): boolean => seen !== null && seen <= most;
  const bounded = within(inotifyInstances, USER_COUNTS.inotify_instances) && within(inotifyWatches, USER_COUNTS.inotify_watches);
  return namespaceOwner === 0 || bounded ? null : 'what the kernel counts by user is counted for another owner, and without a bound';
}

const LAST_UNPRIVILEGED = 65_533;

/**
 * Pid 1 must be who the driver set up, and that is the user of the spec, or on a runtime whose sandboxes share one map
 * somebody unprivileged.
 */
function identity(spec: IsolationSpec, { user, hello }: Pick<Machine, 'user' | 'hello'>, facts: RuntimeFacts | undefined): readonly string[] {
  const findings = [expectEqual('the uid', user.uid, hello.uid), expectEqual('the gid', user.gid, hello.gid)].filter((finding) => finding !== null);
  if (facts?.userInside === 'own') {
    const plain = [user.uid, user.gid].every((id) => Number.isInteger(id) && id >= 1 && id <= LAST_UNPRIVILEGED);
    return plain ? findings : [...findings, `${user.uid}:${user.gid} is not an unprivileged user`];
  }
  const same = user.uid === spec.user.uid && user.gid === spec.user.gid;
  return same ? findings : [...findings, `the user is ${user.uid}:${user.gid}, not ${spec.user.uid}:${spec.user.gid}`];
}

/** Compares what pid 1 saw from inside with what the spec promises. Pure. */
export function attest(spec: IsolationSpec, machine: Pick<Machine, 'runtime' | 'user' | 'hello'>, host: HostFacts, { restored = false }: { readonly restored?: boolean } = {}): Attestation {
  const { runtime, hello } = machine;
  const facts = host.runtimes.find(({ name }) => name === runtime);
  const seen = [...checks, ...(restored ? [] : [alone])].map((check) => check(spec, hello, host)).filter((finding) => finding !== null);
  const findings = [...identity(spec, machine, facts), ...seen];
  if (facts === undefined || levelOf(facts) !== spec.level) findings.push(`runtime ${runtime} does not deliver level ${spec.level}`);
  if (findings.length > 0) return { delivered: null, findings };
  return { delivered: kernelIsOwn(hello, host) ? 'gvisor' : 'container', findings };
}
