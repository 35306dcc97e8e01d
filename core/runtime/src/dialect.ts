import type { RuntimeFacts } from '@caisson/contract';
import type { Counting } from './user-counts.ts';

/** How one OCI runtime is spoken to: argument lists, and nothing else. */
export interface Dialect {
  readonly name: string;
  readonly guestKernel: RuntimeFacts['guestKernel'];
  readonly checkpoint: boolean;
  readonly typicalLaunchMs: number;
  /** First output line of `--version` to a version; null when this program is not usable here. */
  readonly version: (output: string) => string | null;
  /** Starts a sandbox in the background. */
  readonly run: (where: Invocation) => readonly string[];
  /** Where the lanes are: handed on as descriptors 3 and 4, or in the place of stdin and stdout. */
  readonly lanes: 'passed' | 'stdio';
  /** How memory is saved to a folder, the sandbox going on, and a sandbox started from it. Only where `checkpoint` is true. */
  readonly memory?: {
    readonly save: (where: Invocation, folder: string) => readonly string[];
    readonly restore: (where: Invocation, folder: string) => readonly string[];
  };
  /** How everything in a sandbox is stopped and goes on. Default: the kernel's freezer does it. */
  readonly pause?: {
    readonly stop: (where: Invocation) => readonly string[];
    readonly go: (where: Invocation) => readonly string[];
  };
  /** How what the kernel counts by user is kept apart. Default: the host's kernel counts nothing of what is inside. */
  readonly counting?: Counting;
  /** Removes what is left of a sandbox, running or not. */
  readonly remove: (where: Invocation) => readonly string[];
}

export interface Invocation {
  /** Directory of the runtime's own state. */
  readonly stateDir: string;
  readonly bundle: string;
  readonly id: string;
  /** Whether the sandbox has a link to the gate. */
  readonly network: boolean;
}

const gvisorFlags = ({ stateDir, network }: Invocation): readonly string[] => [
  `--root=${stateDir}`,
  `--network=${network ? 'sandbox' : 'none'}`,
  '--oci-seccomp',
  '--overlay2=none',
  '--host-uds=none',
];

/** A gVisor release is a date, `release-20260905.0`; builds from the module proxy carry no release number. */
const GVISOR_OLDEST = 20_250_101;

/** What crun and runc have in common: the command line of the reference runtime. */
const COMMON: Pick<Dialect, 'lanes' | 'run' | 'remove'> = {
  lanes: 'passed',
  run: ({ stateDir, bundle, id }) => ['--root', stateDir, 'run', '--detach', '--bundle', bundle, '--preserve-fds', '2', id],
  remove: ({ stateDir, id }) => ['--root', stateDir, 'delete', '--force', id],
};

export const DIALECTS: readonly Dialect[] = [
  {
    name: 'crun',
    guestKernel: 'host',
    counting: 'owned',
    checkpoint: false,
    typicalLaunchMs: 5,
    version: (output) => /^crun version (\S+)/.exec(output)?.[1] ?? null,
    ...COMMON,
  },
  {
    name: 'runc',
    guestKernel: 'host',
    // It sets limits of a process that it has no privilege over in a namespace of another owner, unless it has CAP_SYS_RESOURCE.
    counting: 'bounded',
    checkpoint: false,
    typicalLaunchMs: 15,
    version: (output) => /^runc version (\S+)/.exec(output)?.[1] ?? null,
    ...COMMON,
  },
  {
    name: 'runsc',
    guestKernel: 'own',
    checkpoint: true,
    typicalLaunchMs: 60,
    version: (output) => {
      const named = /^runsc version (\S+)/.exec(output)?.[1] ?? null;
      const released = /^release-(\d{8})/.exec(named ?? '')?.[1];
      return released !== undefined && Number(released) < GVISOR_OLDEST ? null : named;
    },
    // `restore` passes no descriptors on: what it connects again is stdin, stdout and stderr.
    lanes: 'stdio',
    run: (where) => [...gvisorFlags(where), 'run', '--detach', '--bundle', where.bundle, where.id],
    memory: {
      save: (where, folder) => [...gvisorFlags(where), 'checkpoint', '--leave-running', '--exclude-committed-zero-pages', '--image-path', folder, where.id],
      // gVisor's own comparison of the specs wants equal uid maps, and no two sandboxes have the same: `readCheckpoint`
      // has compared them before, and more strictly.
      restore: (where, folder) => [
        ...gvisorFlags(where), '--restore-spec-validation=ignore', 'restore', '--detach', '--bundle', where.bundle, '--image-path', folder, where.id,
      ],
    },
    // The freezer interrupts the system calls by which gVisor's kernel moves the memory of its processes (seccomp_unotify(2):
    // a notification of a call that was interrupted is gone), and they crash when they go on.
    pause: {
      stop: (where) => [...gvisorFlags(where), 'pause', where.id],
      go: (where) => [...gvisorFlags(where), 'resume', where.id],
    },
    remove: (where) => [...gvisorFlags(where), 'delete', '--force', where.id],
  },
];
