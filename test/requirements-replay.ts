import type { Requirement } from './requirement.ts';

/** What is asked of the state that follows from the log, and what proves it. */
export const REPLAY: readonly Requirement[] = [
  {
    id: 'EN-14',
    promise: 'A checkpoint of the state is one file, named by entry and hash, signed with its bytes; it is checked fast, and in full against the log.',
    proofs: [
      ['test/projection/cli.test.ts', 'a checkpoint is made, verified fast and against the log, and a key that others may use is refused'],
      ['test/projection/cli.test.ts', 'a checkpoint whose state or key was swapped exits 1'],
    ],
  },
  {
    id: 'EN-15',
    promise: 'inspect shows an agent as of any entry, and exits 2 for one that the log does not tell of.',
    proofs: [['test/projection/cli.test.ts', 'inspect shows an agent as of an entry, lists agents, and exits 2 for one that is not known']],
  },
  {
    id: 'EN-17',
    promise: 'Every pointer of the log is followed; one that leads nowhere is named, and the exit status is 1.',
    proofs: [
      ['test/projection/cli.test.ts', 'verify-pointers exits 0 where all hold and 1 where one does not, and names it'],
      ['test/projection/real.test.ts', 'every entry that an instance writes is understood, its pointers hold and its state is what was done'],
    ],
  },
  {
    id: 'EN-19',
    promise: 'One gate replays a log that is kept and follows its pointers, and is part of what every change must pass.',
    proofs: [
      ['test/projection/gate.test.ts', 'the gate exits 0 for the log that is kept, and says how many replays gave which state'],
      ['test/projection/gate.test.ts', 'the gate is part of ./dev ok, with no option, and makes it fail'],
    ],
  },
  {
    id: 'RX-21',
    promise: 'The tools of determinism: inspect, replay and the gate, with exit statuses that mean what they say.',
    proofs: [
      ['test/projection/cli.test.ts', 'replay prints the hash of the state at any entry, and with --show-state the state'],
      ['test/projection/cli.test.ts', 'a log that was changed exits 1 in every command, and what cannot be told exits 2'],
      ['test/projection/gate.test.ts', 'no replay at all, and what is not understood, is exit 2'],
    ],
  },
  {
    id: 'H54',
    promise: 'The gate of determinism has one path and strict exit statuses: a failure that is injected, and whatever was to run and did not, makes it fail.',
    proofs: [
      ['test/projection/gate.test.ts', 'a fold that reads ${what} makes the gate exit 1'],
      ['test/projection/gate.test.ts', 'a log or an expectation that was changed, is empty or is not there makes the gate exit 1'],
      ['test/projection/gate.test.ts', 'a process that fails, is killed, tells of fewer replays or of nonsense makes the gate exit 1'],
      ['test/projection/gate.test.ts', 'a test that fails or is skipped, and a file without tests, make the gate exit 1'],
    ],
  },
  {
    id: 'H58',
    promise: 'The state reads no clock and draws no number: the same log gives the same bytes in any process, and random numbers of tests come in named streams.',
    proofs: [
      ['test/projection/determinism.test.ts', 'a hundred replays of one log, each cut at other places, give one hash, and it is the one that is kept'],
      ['test/projection/determinism.test.ts', 'another process, time zone or language gives the same state'],
      ['test/projection/determinism.test.ts', 'streams of one seed are apart: one that draws more does not change what another gives'],
    ],
    later: 'there is no universe yet whose draws would be on record',
  },
  {
    id: 'EN-10',
    promise: 'Decide, record, do, record: no effect without an intent before it, none is lost or doubled, and each has one outcome, whatever is killed in between.',
    proofs: [
      ['test/kills/short.test.ts', 'kill -9 of scribe, control or launcher between intent, effect and outcome: no effect without an intent, none lost or doubled, and one state however the log is folded'],
      ['test/sandbox/stay.test.ts', 'a snapshot that is asked for again with its key, because control died before it answered, is the same one'],
      ['test/sandbox/stay.test.ts', 'no evidence, no sandbox: nothing is started that could not be put on record'],
    ],
  },
];
