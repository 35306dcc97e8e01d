import { constants } from 'node:os';
import type { HostFacts } from '@caisson/contract';
import { FakeDriver, type FakeScript, type ProcessSpec } from '@caisson/runtime';

/** A host that has everything, and whose runtime is the scripted one. */
export const goodHost: HostFacts = {
  kernel: '6.12.0',
  arch: 'x64',
  rootless: false,
  cgroup: { mode: 'v2', writable: true, controllers: ['cpu', 'memory', 'pids'], swapAccounting: true },
  swapBytes: 0,
  userNamespaces: 15_000,
  seccomp: true,
  landlockAbi: 6,
  runtimes: [new FakeDriver({}).facts],
  missing: { container: null, gvisor: { what: 'no gVisor', how: 'get it' }, microvm: { what: 'no virtual machine monitor', how: 'wait for the driver' } },
  noGate: { what: 'no gate', how: 'run as root' },
};

/** The commands of the suite, as scripts. */
export function playCommands({ argv, cwd, stdin }: ProcessSpec): FakeScript {
  const [program, , argument = ''] = argv;
  if (cwd.startsWith('/no/')) return { end: { kind: 'not-started', stage: 'cwd', errno: constants.errno.ENOENT } };
  if (program === 'cat') return { echo: stdin };
  if (program === 'sleep') return { hang: true };
  if (program === 'head') return { print: [{ stream: 'stdout', text: '\0'.repeat(Number(argument)) }] };
  const printed = /^printf %s (\S+)( >&2)?$/.exec(argument);
  if (printed !== null) return { print: [{ stream: printed[2] === undefined ? 'stdout' : 'stderr', text: printed[1] ?? '' }] };
  const exited = /^exit (\d+)$/.exec(argument);
  if (exited !== null) return { end: { kind: 'exited', code: Number(exited[1]) } };
  if (argument.startsWith('set -m')) return { hang: true };
  if (argument.startsWith('kill -USR1')) return { end: { kind: 'signaled', signal: constants.signals.SIGUSR1 } };
  return { end: { kind: 'not-started', stage: 'exec', errno: constants.errno.ENOENT } };
}
