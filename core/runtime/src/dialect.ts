import type { RuntimeFacts } from '@caisson/contract';

/** How one OCI runtime is spoken to: argument lists, and nothing else. */
export interface Dialect {
  readonly name: string;
  readonly guestKernel: RuntimeFacts['guestKernel'];
  readonly checkpoint: boolean;
  readonly typicalLaunchMs: number;
  /** First output line of `--version` to a version; null when this program is not usable here. */
  readonly version: (output: string) => string | null;
  /** Starts a sandbox in the background with descriptors 3 and 4 as its lanes. */
  readonly run: (where: Invocation) => readonly string[];
  /** Removes what is left of a sandbox, running or not. */
  readonly remove: (where: Invocation) => readonly string[];
}

export interface Invocation {
  /** Directory of the runtime's own state. */
  readonly stateDir: string;
  readonly bundle: string;
  readonly id: string;
}

const gvisorFlags = ({ stateDir }: Invocation): readonly string[] => [
  `--root=${stateDir}`,
  '--network=none',
  '--oci-seccomp',
  '--overlay2=none',
  '--host-uds=none',
];

/** A gVisor release is a date, `release-20260905.0`; builds from the module proxy carry no release number. */
const GVISOR_OLDEST = 20_250_101;

/** What crun and runc have in common: the command line of the reference runtime. */
const COMMON: Pick<Dialect, 'run' | 'remove'> = {
  run: ({ stateDir, bundle, id }) => ['--root', stateDir, 'run', '--detach', '--bundle', bundle, '--preserve-fds', '2', id],
  remove: ({ stateDir, id }) => ['--root', stateDir, 'delete', '--force', id],
};

export const DIALECTS: readonly Dialect[] = [
  {
    name: 'crun',
    guestKernel: 'host',
    checkpoint: false,
    typicalLaunchMs: 5,
    version: (output) => /^crun version (\S+)/.exec(output)?.[1] ?? null,
    ...COMMON,
  },
  {
    name: 'runc',
    guestKernel: 'host',
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
    run: (where) => [...gvisorFlags(where), 'run', '--detach', '--bundle', where.bundle, '--pass-fd', '3:3', '--pass-fd', '4:4', where.id],
    remove: (where) => [...gvisorFlags(where), 'delete', '--force', where.id],
  },
];
