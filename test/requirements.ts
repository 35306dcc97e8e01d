/** A test that proves a promise: its file and its exact name. */
export type Proof = readonly [file: string, name: string];

/** What is asked of Caisson, as the promise it makes, and what proves it. */
export interface Requirement {
  readonly id: string;
  readonly promise: string;
  readonly proofs: readonly Proof[];
  /** Why a promise, or the named part of it, is not kept yet. Without it, there must be a proof. */
  readonly later?: string;
}

export const REQUIREMENTS: readonly Requirement[] = [
  // A sandbox for every command.
  { id: 'RX-01', promise: 'Every command runs in a sandbox of its own that exists for that call only.', proofs: [] },
  {
    id: 'RX-02',
    promise: 'A sandbox ends with its command or its wall time, is never restarted, and leaves no process, mount, cgroup or file.',
    proofs: [],
  },
  { id: 'RX-03', promise: 'Every sandbox has a name of its own, sbx- and 16 characters, under which its intent, outcome and result are found.', proofs: [] },
  { id: 'RX-04', promise: 'No capability, no new privileges, not root, a system call allowlist: measured from inside before the command starts.', proofs: [] },
  { id: 'RX-05', promise: 'A sandbox has its own /workspace and /tmp; no mount of it can name a path of the host.', proofs: [] },
  { id: 'RX-14', promise: 'A spec below the floor (not root, seccomp, no escalation, no capability, read-only root) is refused by the launcher.', proofs: [] },
  { id: 'RX-22', promise: 'Level gvisor serves the system calls of the sandbox by a kernel that is not the host\'s.', proofs: [] },

  // The boundary and its floor.
  { id: 'BB-01', promise: 'Inside is free use of own files; outside nothing is reachable: no host path, process, user or socket.', proofs: [] },
  { id: 'BB-11', promise: 'A sandbox has neither CAP_NET_RAW nor CAP_NET_ADMIN, and no interface but lo.', proofs: [] },
  { id: 'BB-14', promise: 'CPU, memory, processes and the bytes and files of each writable place are limited for every sandbox.', proofs: [] },
  { id: 'BB-15', promise: 'No host mount, runtime socket or device is expressible in a spec, and none is there inside.', proofs: [] },
  {
    id: 'BB-16',
    promise: 'The floor is on for every sandbox at every level and no request turns a part of it off.',
    proofs: [],
    later: 'AppArmor where the kernel has it, and secrets on tmpfs, come with the vault',
  },

  // Runtime isolation and limits.
  { id: 'RL-01', promise: 'Where the host has runsc or can build it, --level gvisor runs on it.', proofs: [] },
  { id: 'RL-02', promise: 'A level that cannot be delivered is refused with what is missing; nothing falls back to a weaker one.', proofs: [] },
  { id: 'RL-03', promise: 'A sandbox reaches no address: no DNS, no IPv4 or IPv6, no host listener. Its own loopback and AF_UNIX work.', proofs: [] },
  { id: 'RL-04', promise: 'Memory is limited, 512 MiB by default, without swap.', proofs: [] },
  { id: 'RL-05', promise: 'Processes and threads are limited, 50 by default.', proofs: [] },
  { id: 'RL-06', promise: 'CPU bandwidth is limited, one core by default, and CPU time as well.', proofs: [] },
  { id: 'RL-07', promise: 'No new privileges, a private IPC namespace, an unprivileged uid, a read-only root.', proofs: [] },
  { id: 'RL-08', promise: 'Files of the host such as /etc/shadow, /root and /home cannot be read; what is at /etc is made for the sandbox.', proofs: [] },
  { id: 'RL-09', promise: 'Fork bombs, memory bombs and CPU spinning end inside their limits, and a neighbour keeps its speed.', proofs: [] },
  { id: 'RL-13', promise: 'Connecting anywhere is an error, and nothing arrives outside.', proofs: [] },
  { id: 'RL-14', promise: 'A memory bomb ends with exit 137, and the reason says that memory ran out.', proofs: [] },
  { id: 'RL-15', promise: 'Opening /etc/shadow fails inside.', proofs: [] },
  {
    id: 'RL-16',
    promise: 'Blocking of imports is not offered as security: what a program may do is decided by the kernel, whatever its language.',
    proofs: [],
  },
  { id: 'RL-17', promise: 'The attacks run from inside by one command, ./caisson doctor, and by ./dev test, on every change.', proofs: [] },
  { id: 'RL-18', promise: 'Levels are container < gvisor < microvm; result and record name the level asked for and the level measured.', proofs: [] },
  { id: 'RL-19', promise: 'There is no level without a sandbox.', proofs: [] },

  // Holes of other designs, closed.
  { id: 'H1', promise: 'No control inside the language of the agent counts as a protection; system calls are filtered by the kernel.', proofs: [] },
  { id: 'H2', promise: 'The policy has a minimum level; below it nothing starts; the level delivered is measured from inside and recorded.', proofs: [] },
  {
    id: 'H3',
    promise: 'A uid that no other sandbox has, no capability, read-only root, sized writable places, rlimits, cgroup limits, wall and CPU time, output cut while streaming, the whole cgroup killed.',
    proofs: [],
  },
  { id: 'H4', promise: 'A sandbox holds no credential of the platform; the launcher takes a closed set of typed verbs and checks the floor itself.', proofs: [] },
  { id: 'H5', promise: 'Hardening is checked three times: in the compiled spec, by the launcher, and from inside.', proofs: [] },
  { id: 'H6', promise: 'Host paths and sockets are absent from the mount schema, not filtered out of it.', proofs: [] },
  { id: 'H7', promise: 'Escape by .., symbolic link, hard link or /proc/self/root ends at the sandbox\'s own root.', proofs: [] },
  { id: 'H8', promise: 'No two sandboxes share a writable place.', proofs: [], later: 'declared inputs and outputs come with workspaces' },
  { id: 'H9', promise: 'There is no in-process sandbox: levels differ by the kernel surface they offer.', proofs: [] },
  { id: 'H10', promise: 'An escape finds no secret: the runtime starts with an empty environment and no descriptor but its lanes.', proofs: [] },
  {
    id: 'H11',
    promise: 'Nothing is pulled: the image is the host\'s read-only /usr.',
    proofs: [],
    later: 'digest and signature of OCI images come with the images',
  },
];
