import { levelOf, type HostFacts, type IsolationSpec, type Level } from '@caisson/contract';
import type { Hello } from '@caisson/runtime';

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
  (spec, hello) => expectEqual('the uid', spec.user.uid, hello.uid),
  (spec, hello) => expectEqual('the gid', spec.user.gid, hello.gid),
  (_, hello) => expectEqual('pid 1', 1, hello.pid),
  (_, hello) => expectEqual('the union of all capability sets', '0', hello.capabilities),
  (_, hello) => expectEqual('no_new_privs', true, hello.noNewPrivileges),
  (_, hello) => expectEqual('the seccomp mode', 2, hello.seccomp),
  (_, hello) => expectEqual('a read-only root', true, hello.rootReadOnly),
  (_, hello) => expectEqual('the number of other processes', 0, hello.otherProcesses),
  (_, hello) => expectEqual('the list of network interfaces', 'lo', hello.interfaces.join(',')),
  (spec, hello) => expectEqual('the host name', spec.hostname, hello.hostname),
  (spec, hello) => (spec.landlock && hello.landlockAbi < 1 ? 'Landlock is not in force' : null),
  (spec, hello) => (spec.level === 'container' ? ownUid(hello) : null),
  (spec, hello, host) => (spec.level === 'gvisor' && !kernelIsOwn(hello, host) ? `the kernel is ${hello.kernel}, which is not the sandbox's own` : null),
];

/** On the host's kernel the uid must be mapped: an identity map means that no user namespace is in force. */
function ownUid(hello: Hello): string | null {
  return /^0 0 4294967295$/.test(hello.uidMap) ? 'no user namespace is in force' : null;
}

/** Compares what pid 1 saw from inside with what the spec promises. Pure. */
export function attest(spec: IsolationSpec, hello: Hello, host: HostFacts, runtime: string): Attestation {
  const findings = checks.map((check) => check(spec, hello, host)).filter((finding) => finding !== null);
  const facts = host.runtimes.find(({ name }) => name === runtime);
  if (facts === undefined || levelOf(facts) !== spec.level) findings.push(`runtime ${runtime} does not deliver level ${spec.level}`);
  if (findings.length > 0) return { delivered: null, findings };
  return { delivered: kernelIsOwn(hello, host) ? 'gvisor' : 'container', findings };
}
