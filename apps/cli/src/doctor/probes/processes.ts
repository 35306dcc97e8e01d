import { CONTROL, together, type Probe } from '../probe.ts';
import { fromInit, fromSurvivors, survivorsOutside } from '../readings.ts';

const ALONE = { wallMs: 20_000 } as const;

export const PROCESSES: readonly Probe[] = [
  ...together('processes', [
    ['other-processes', 'see a process that is not of its sandbox', 'BB-01 H10', 'root'],
    ['signal-others', 'signal any process of the first 100,000 numbers', 'BB-01', 'root'],
    ['ptrace-init', 'trace pid 1', 'BB-16 H4', 'victim'],
    ['read-init-memory', 'read the memory of pid 1', 'BB-16 H4', 'victim'],
    ['write-init-memory', 'write to the memory of pid 1', 'BB-16 H4', 'victim'],
    ['init-mem-file', 'open the memory file of pid 1', 'H4', 'victim'],
    ['init-memory', 'read the memory map of pid 1', 'H4', 'victim'],
    ['init-environment', 'read the environment of pid 1', 'H4 H10', 'victim'],
    ['init-stack', 'read where pid 1 stands', 'H4', 'victim'],
    ['init-descriptors', 'learn what the descriptors of pid 1 are', 'H4 H10', 'victim'],
    ['init-oom-score', 'have pid 1 killed first when memory runs out', 'H3', 'victim'],
    ['open-lane', 'open the control lane of pid 1', 'H4 H10', 'victim'],
    ['copy-lane', 'copy the control lane of pid 1 by a pidfd', 'H4 H10', 'victim'],
    ['inherited-descriptors', 'find a descriptor beyond stdin, stdout and stderr', 'H4 H10', 'spared'],
  ]),
  {
    id: 'signal-all',
    title: 'reach any other process by signalling all',
    theme: 'processes',
    argv: ['signal-all'],
    requirements: ['BB-01'],
    control: CONTROL.root,
    alone: { limits: ALONE },
  },
  {
    id: 'kill-init',
    title: 'stop or kill pid 1',
    theme: 'processes',
    argv: ['kill-init'],
    requirements: ['H3', 'H4'],
    control: CONTROL.victim,
    alone: { limits: ALONE, read: fromInit, controlVictim: true },
  },
  {
    id: 'outlive',
    title: 'leave a process behind',
    theme: 'processes',
    argv: ['outlive'],
    requirements: ['RX-02', 'H3'],
    control: 'the same attack on the host leaves a process, which the doctor then ends',
    alone: { limits: ALONE, read: fromSurvivors, readControl: survivorsOutside },
  },
];
