import { CONTROL, type Alone, type Probe } from '../probe.ts';
import { fromCpuShare, fromMemory, fromOutput, fromTime, outputOutside } from '../readings.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
/** Long enough for the slowest level; an attack that is still going then has not been stopped by its own limit. */
const WALL = { wallMs: 60_000 } as const;

type Row = readonly [name: string, parameters: readonly string[], title: string, requirements: string, alone: Alone];

/** Limits are small, so that the attacks and their controls are: what is shown is that a limit given is a limit kept. */
const ROWS: readonly Row[] = [
  ['take-memory', ['mib=256'], 'use more memory than its limit', 'RL-04 RL-09 RL-14 BB-14', { limits: { ...WALL, memoryBytes: 128 * MIB }, read: fromMemory }],
  ['take-processes', ['count=200'], 'start more processes than its limit', 'RL-05 RL-09 BB-14', { limits: { ...WALL, pids: 40 } }],
  ['take-disk', ['mib=64'], 'write more than its workspace holds', 'BB-14 H3', { limits: { ...WALL, workspaceBytes: 32 * MIB } }],
  ['take-inodes', ['count=2000'], 'make more files than its limit', 'BB-14 H3', { limits: { ...WALL, inodes: 500 } }],
  ['nest-directories', ['count=2000'], 'nest directories beyond its limit of files', 'BB-14 H3', { limits: { ...WALL, inodes: 500 } }],
  ['take-descriptors', ['count=500'], 'open more descriptors than its limit', 'H3', { limits: { ...WALL, openFiles: 64 } }],
  [
    'flood-stdout', ['mib=1024'], 'return more output than its limit', 'H3 BB-14',
    { limits: { ...WALL, outputBytes: 64 * KIB }, read: fromOutput, controlArgv: ['flood-stdout', 'mib=16'], readControl: outputOutside },
  ],
  ['take-cpu', ['ms=2000', 'most=500'], 'use more of the processor than its share', 'RL-06 RL-09 BB-14', { limits: { ...WALL, cpuMillis: 250 }, read: fromCpuShare(500) }],
  ['spin', ['ms=3000'], 'use more CPU time than its limit', 'RL-06 RL-09 H3', { limits: { ...WALL, cpuMs: 500 }, read: fromTime('cpu') }],
  ['linger', ['ms=5000'], 'outstay its wall time by ignoring signals', 'RX-02 H3', { limits: { wallMs: 1000 }, read: fromTime('wall'), controlArgv: ['linger', 'ms=1500'] }],
];

/** Asking for this limit is refused where it cannot be held, so there is nothing to break. */
const NO_FILE_LIMIT = { gvisor: 'a limit on files is refused at this level: they count against memory' } as const;

export const RESOURCES: readonly Probe[] = ROWS.map(([id, parameters, title, requirements, alone]) => ({
  id,
  title,
  theme: 'resources',
  argv: [id, ...parameters],
  requirements: requirements.split(' '),
  control: CONTROL.spared,
  alone,
  ...(alone.limits.inodes === undefined ? {} : { except: NO_FILE_LIMIT }),
}));
