import type { Proof, Requirement } from './requirement.ts';
import { ARCHIVE } from './requirements-archive.ts';
import { AUDIT } from './requirements-audit.ts';
import { LOG } from './requirements-log.ts';
import { NETWORK } from './requirements-network.ts';
import { REPLAY } from './requirements-replay.ts';
import { SECRECY } from './requirements-secrecy.ts';

/** The attacks of the doctor from inside every level; each names the requirements that it is an attack on. */
export const WALLS: Proof = ['test/escape/walls.test.ts', 'at level ${level} an agent cannot ${title}'];

export const REQUIREMENTS: readonly Requirement[] = [
  // A sandbox for every command.
  {
    id: 'RX-01',
    promise: 'Every command runs in a sandbox of its own that exists for that call only.',
    proofs: [
      ['test/alone.test.ts', 'a sandbox finds nothing of the one before it'],
      ['test/alone.test.ts', 'two sandboxes at once have different uids on the host, and neither sees the other'],
    ],
  },
  {
    id: 'RX-02',
    promise: 'A sandbox ends with its command or its wall time, is never restarted, and leaves no process, mount, cgroup or file.',
    proofs: [
      WALLS,
      ['test/cli/run.test.ts', 'a command that runs into its wall time is over within a second of it'],
      ['test/faults/kill.test.ts', 'kill -9 of ${role} at any step of a ${level} call leaves nothing behind and no intent without an outcome'],
      ['test/faults/kill.test.ts', 'down while calls run cancels them, records it and leaves nothing'],
      ['test/limits/leaks.test.ts', '200 runs leave memory, descriptors, mounts, cgroups and folders where they were'],
    ],
  },
  {
    id: 'RX-03',
    promise: 'Every sandbox has a name of its own, sbx- and 16 characters, under which its intent, outcome and result are found.',
    proofs: [
      ['test/cli/run.test.ts', '--json prints one object with these fields and types'],
      ['test/errors/running.test.ts', 'CANCELLED: Ctrl-C ends the call with 125, and the record says that it was cancelled'],
    ],
  },
  {
    id: 'RX-04',
    promise: 'No capability, no new privileges, not root, a system call allowlist: measured from inside before the command starts.',
    proofs: [
      WALLS,
      ['test/sandbox/attest.test.ts', 'a sandbox with ${what} is found to be weaker than its spec'],
      ['test/errors/host.test.ts', 'ATTESTATION_FAILED: a sandbox weaker than its spec runs nothing, and its weakness is named'],
    ],
  },
  {
    id: 'RX-05',
    promise: 'A sandbox has its own /workspace and /tmp; no mount of it can name a path of the host.',
    proofs: [
      WALLS,
      ['test/isolation/schema.test.ts', 'no mount takes a field that could hold a host path, a device or an option'],
      ['test/isolation/started.test.ts', 'under ${name} only /workspace, /tmp and /dev/shm can be written, up to their size'],
    ],
  },
  {
    id: 'RX-14',
    promise: 'A spec below the floor (not root, seccomp, no escalation, no capability, read-only root) is refused by the launcher.',
    proofs: [
      WALLS,
      ['test/errors/running.test.ts', 'FLOOR_VIOLATED: the launcher refuses a sandbox that ${what}, whoever asks'],
      ['test/isolation/floor.test.ts', '${what} is below the floor'],
    ],
  },
  {
    id: 'RX-22',
    promise: 'Level gvisor serves the system calls of the sandbox by a kernel that is not the host\'s.',
    proofs: [
      WALLS,
      ['test/sandbox/attest.test.ts', 'level gvisor on the kernel of the host is found, whatever the runtime calls itself'],
    ],
  },

  // The boundary and its floor.
  {
    id: 'BB-01',
    promise: 'Inside is free use of own files; outside nothing is reachable: no host path, process, user or socket.',
    proofs: [
      WALLS,
      ['test/alone.test.ts', 'two sandboxes at once have different uids on the host, and neither sees the other'],
    ],
  },
  {
    id: 'BB-11',
    promise: 'A sandbox has neither CAP_NET_RAW nor CAP_NET_ADMIN, and no interface but lo.',
    proofs: [
      WALLS,
    ],
  },
  {
    id: 'BB-14',
    promise: 'CPU, memory, processes and the bytes and files of each writable place are limited for every sandbox.',
    proofs: [
      WALLS,
      ['test/isolation/floor.test.ts', 'a tmpfs without a size, or of more than its limit, is below the floor'],
      ['test/isolation/started.test.ts', 'under ${name} only /workspace, /tmp and /dev/shm can be written, up to their size'],
    ],
  },
  {
    id: 'BB-15',
    promise: 'No host mount, runtime socket or device is expressible in a spec, and none is there inside.',
    proofs: [
      WALLS,
      ['test/isolation/schema.test.ts', 'of the host, an OCI config names the rootfs, the init binary, /usr and files that are the sandbox\'s own, and all of them are read-only'],
      ['test/isolation/schema.test.ts', 'there is no mount of another kind'],
    ],
  },
  {
    id: 'BB-16',
    promise: 'The floor is on for every sandbox at every level and no request turns a part of it off.',
    proofs: [
      WALLS,
      ['test/isolation/floor.test.ts', 'a filter that allows ${name} is below the floor, whatever its condition'],
      ['test/isolation/compile.test.ts', 'whatever limits are allowed, a compiled spec is valid and not below the floor'],
    ],
    later: 'AppArmor where the kernel has it',
  },

  // Runtime isolation and limits.
  {
    id: 'RL-01',
    promise: 'Where the host has runsc or can build it, --level gvisor runs on it.',
    proofs: [
      WALLS,
    ],
  },
  {
    id: 'RL-02',
    promise: 'A level that cannot be delivered is refused with what is missing; nothing falls back to a weaker one.',
    proofs: [
      ['test/errors/request.test.ts', 'LEVEL_UNAVAILABLE: a level that this host lacks is refused with what is missing and how to get it'],
      ['test/isolation/compile.test.ts', 'whatever the host lacks, a spec is either whole or refused'],
      ['test/sandbox/attest.test.ts', 'a runtime of another level, or one that the host does not have, is found'],
    ],
  },
  {
    id: 'RL-03',
    promise: 'A sandbox reaches no address: no DNS, no IPv4 or IPv6, no host listener. Its own loopback and AF_UNIX work.',
    proofs: [
      WALLS,
    ],
  },
  {
    id: 'RL-04',
    promise: 'Memory is limited, 512 MiB by default, without swap.',
    proofs: [
      WALLS,
      ['test/authority/policy.test.ts', 'the shipped defaults are those of the specification'],
    ],
  },
  {
    id: 'RL-05',
    promise: 'Processes and threads are limited, 50 by default.',
    proofs: [
      WALLS,
      ['test/authority/policy.test.ts', 'the shipped defaults are those of the specification'],
      ['test/isolation/started.test.ts', 'under ${name} more processes than the limit cannot be made, and the others live on'],
    ],
  },
  {
    id: 'RL-06',
    promise: 'CPU bandwidth is limited, one core by default, and CPU time as well.',
    proofs: [
      WALLS,
      ['test/authority/policy.test.ts', 'the shipped defaults are those of the specification'],
      ['test/cli/run.test.ts', 'exit status is ${what}'],
    ],
  },
  {
    id: 'RL-07',
    promise: 'No new privileges, a private IPC namespace, an unprivileged uid, a read-only root.',
    proofs: [
      WALLS,
      ['test/isolation/floor.test.ts', 'a shared ${name} namespace is below the floor'],
    ],
  },
  {
    id: 'RL-08',
    promise: 'Files of the host such as /etc/shadow, /root and /home cannot be read; what is at /etc is made for the sandbox.',
    proofs: [
      WALLS,
    ],
  },
  {
    id: 'RL-09',
    promise: 'Fork bombs, memory bombs and CPU spinning end inside their limits, and a neighbour keeps its speed.',
    proofs: [
      WALLS,
      ['test/isolation/started.test.ts', 'under ${name} more processes than the limit cannot be made, and the others live on'],
      ['test/limits/processes.test.ts', 'a fork bomb ends inside its limits, and a neighbour keeps at least 80% of its speed'],
    ],
  },
  {
    id: 'RL-13',
    promise: 'Connecting anywhere is an error, and nothing arrives outside.',
    proofs: [
      WALLS,
    ],
  },
  {
    id: 'RL-14',
    promise: 'A memory bomb ends with exit 137, and the reason says that memory ran out.',
    proofs: [
      WALLS,
      ['test/cli/run.test.ts', 'exit status is ${what}'],
      ['test/escape/judge.test.ts', 'a memory bomb is held by exit 137 with the reason, and by nothing else that ends it'],
    ],
  },
  {
    id: 'RL-15',
    promise: 'Opening /etc/shadow fails inside.',
    proofs: [
      WALLS,
    ],
  },
  {
    id: 'RL-16',
    promise: 'Blocking of imports is not offered as security: what a program may do is decided by the kernel, whatever its language.',
    proofs: [
      ['test/isolation/seccomp.test.ts', 'what the filter does not name is refused with EPERM'],
      ['test/isolation/started.test.ts', 'under ${name} the calls of the filter answer as it says'],
    ],
  },
  {
    id: 'RL-17',
    promise: 'The attacks run from inside by one command, ./caisson doctor, and by ./dev test, on every change.',
    proofs: [
      ['test/escape/walls.test.ts', 'the walls of level ${level} hold against every attack'],
      ['test/escape/doctor.test.ts', 'one attack that gets through makes the doctor exit 1'],
    ],
  },
  {
    id: 'RL-18',
    promise: 'Levels are container < gvisor < microvm; result and record name the level asked for and the level measured.',
    proofs: [
      WALLS,
      ['test/sandbox/attest.test.ts', 'a sandbox that keeps its spec is attested at the level that was measured'],
      ['test/cli/run.test.ts', '--json prints one object with these fields and types'],
    ],
  },
  {
    id: 'RL-19',
    promise: 'There is no level without a sandbox.',
    proofs: [
      ['test/errors/request.test.ts', 'REQUEST_INVALID: ${what}'],
      ['test/isolation/schema.test.ts', 'a spec has no field beyond those of the schema, and no image but host'],
    ],
  },

  // Holes of other designs, closed.
  {
    id: 'KA-02',
    promise: 'The technique is chosen when a sandbox is asked for, by level; time, memory and calls are limited, the file system is read-only but for its own places.',
    proofs: [
      ['test/stay/exec.test.ts', '${claim} (${level})'],
      ['test/workspace/caps.test.ts', 'an agent that fills its workspace gets ENOSPC at the cap, and its neighbour notices nothing'],
    ],
  },
  {
    id: 'H1',
    promise: 'No control inside the language of the agent counts as a protection; system calls are filtered by the kernel.',
    proofs: [
      WALLS,
      ['test/isolation/seccomp.test.ts', 'what the filter does not name is refused with EPERM'],
    ],
  },
  {
    id: 'H2',
    promise: 'The policy has a minimum level; below it nothing starts; the level delivered is measured from inside and recorded.',
    proofs: [
      ['test/errors/request.test.ts', 'LEVEL_BELOW_POLICY: a level below the minimum of the policy is refused'],
      ['test/sandbox/attest.test.ts', 'a sandbox that keeps its spec is attested at the level that was measured'],
      ['test/errors/host.test.ts', 'ATTESTATION_FAILED: a sandbox weaker than its spec runs nothing, and its weakness is named'],
    ],
  },
  {
    id: 'H3',
    promise: 'A uid that no other sandbox has, no capability, read-only root, sized writable places, rlimits, cgroup limits, wall and CPU time, output cut while streaming, the whole cgroup killed.',
    proofs: [
      WALLS,
      ['test/escape/inotify.test.ts', 'a sandbox that takes all the inotify instances it can leaves its neighbours theirs, and the host its own'],
      ['test/drivers/docker-daemon.test.ts', 'one that hoards pipes takes nothing from another, because the kernel counts them for another uid'],
      ['test/alone.test.ts', 'two sandboxes at once have different uids on the host, and neither sees the other'],
      ['test/sandbox/open.test.ts', 'output is counted, cut at its cap and identified by what was returned'],
      ['test/isolation/floor.test.ts', 'an rlimit that is missing, raised or given twice is below the floor'],
    ],
  },
  {
    id: 'H4',
    promise: 'A sandbox holds no credential of the platform; the launcher takes a closed set of typed verbs and checks the floor itself.',
    proofs: [
      WALLS,
      ['test/errors/running.test.ts', 'FRAME_INVALID: a host path, an unknown verb and a field too many are not messages of the launcher'],
      ['test/errors/running.test.ts', 'FLOOR_VIOLATED: the launcher refuses a sandbox that ${what}, whoever asks'],
    ],
  },
  {
    id: 'H5',
    promise: 'Hardening is checked three times: in the compiled spec, by the launcher, and from inside.',
    proofs: [
      ['test/isolation/golden.test.ts', 'the OCI config of ${name} is the one that was reviewed'],
      ['test/errors/running.test.ts', 'FLOOR_VIOLATED: the launcher refuses a sandbox that ${what}, whoever asks'],
      ['test/sandbox/attest.test.ts', 'a sandbox with ${what} is found to be weaker than its spec'],
    ],
  },
  {
    id: 'H6',
    promise: 'Host paths and sockets are absent from the mount schema, not filtered out of it.',
    proofs: [
      WALLS,
      ['test/isolation/schema.test.ts', 'no mount takes a field that could hold a host path, a device or an option'],
      ['test/isolation/schema.test.ts', 'there is no mount of another kind'],
    ],
  },
  {
    id: 'H7',
    promise: 'Escape by .., symbolic link, hard link or /proc/self/root ends at the sandbox\'s own root, from inside and for whoever reads its files from outside.',
    proofs: [
      WALLS,
      ['test/files/race.test.ts', '${TRIALS} randomised calls against an agent that swaps every name for links: nothing outside is read or written'],
      ['test/workspace/archive.test.ts', 'an archive cannot write outside: not by .., absolute names, or links in any order'],
    ],
  },
  {
    id: 'H8',
    promise: 'No two sandboxes share a writable place; what goes in or out is copied.',
    proofs: [
      WALLS,
      ['test/stay/exec.test.ts', 'a named workspace outlives its sandbox, and one sandbox at a time has it'],
      ['test/alone.test.ts', 'a sandbox finds nothing of the one before it'],
      ['test/alone.test.ts', 'two sandboxes at once have different uids on the host, and neither sees the other'],
    ],
  },
  {
    id: 'H9',
    promise: 'There is no in-process sandbox: levels differ by the kernel surface they offer.',
    proofs: [
      ['test/isolation/floor.test.ts', 'a shared ${name} namespace is below the floor'],
      ['test/isolation/compile.test.ts', 'whatever the host lacks, a spec is either whole or refused'],
    ],
  },
  {
    id: 'H10',
    promise: 'An escape finds no secret: the runtime starts with an empty environment and no descriptor but its lanes.',
    proofs: [
      WALLS,
      ['test/cli/run.test.ts', 'nothing of the host\'s environment is inherited'],
    ],
  },
  {
    id: 'H11',
    promise: 'The image is the host\'s read-only /usr, or one named by its digest; a tag is refused, and every byte is checked before it is unpacked.',
    proofs: [
      ['test/stay/images.test.ts', 'an image is imported by the API, runs at every level under its digest, and is not removed while it does'],
      ['test/images/hostile.test.ts', 'IMAGE_INVALID: a blob that was changed after it was named is refused, whichever it is'],
      ['test/isolation/schema.test.ts', 'a spec has no field beyond those of the schema, and no image but host'],
    ],
    later: 'signatures of images are not checked yet',
  },
  ...NETWORK,
  ...ARCHIVE,
  ...REPLAY,
  ...AUDIT,
  ...SECRECY,
  ...LOG,
];
