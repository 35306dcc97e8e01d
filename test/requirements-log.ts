import type { Proof, Requirement } from './requirement.ts';

const POINTERS: Proof = ['test/projection/pointers.test.ts', 'every pointer of a log as an instance writes it holds'];
const KILLS: Proof = ['test/kills/short.test.ts', 'kill -9 of scribe, control or launcher between intent, effect and outcome: no effect without an intent, none lost or doubled, and one state however the log is folded'];
const TOLD_OF_CLOCK: Proof = ['test/evidence/clock.test.ts', 'a clock that is set is told before anything is dated by it, and the log is complete'];
const FENCED: Proof = ['test/archive/writers.test.ts', 'of two archivers of one log the second that writes is fenced by the store itself, and so is it after a new start'];
const COUNTED: Proof = ['test/archive/ship.test.ts', '${name} at any request stops nothing for good: the store is brought whole, nothing is lost or doubled, and ${errorClass} is counted'];
const ROLLED_BACK: Proof = ['test/evidence/tamper.test.ts', 'a log rolled back to what it once was passes without a head kept elsewhere, and is found with one'];
const DENIED: Proof = ['test/archive/policy.test.ts', 'whoever ${what} is denied, whatever IAM grants in the same account'];
const PAGE: Proof = ['test/report/attacks.test.ts', 'a log that was changed makes every form of the report say so, with the entry, and exit with 1'];

/** What is asked of the log itself, and what proves it. */
export const LOG: readonly Requirement[] = [
  {
    id: 'RX-11',
    promise: 'Every call is on record, outside of what an agent can reach, before it is done, with commitments to what was asked and what came of it.',
    proofs: [
      ['test/sandbox/open.test.ts', 'the record holds neither arguments nor variables nor output but in what is sealed, and the caller can prove what was asked'],
      ['test/report/export.test.ts', '--view rynxs has the audit record of each call and exec, and --view events a chain that is the same from any entry on'],
      KILLS,
    ],
  },
  {
    id: 'EN-01',
    promise: 'An entry says what it is, of whom and about what, where it stands, and where among what its source has told.',
    proofs: [
      ['test/evidence/line.test.ts', 'what is encoded is read back as the same entry'],
      ['test/evidence/bodies.test.ts', 'every kind of entry has a schema: bodies of it are read, without one of their fields they are not, and never as another'],
    ],
  },
  {
    id: 'EN-02',
    promise: 'A value has one text: sorted names, integers only, NFC; what has none is refused.',
    proofs: [
      ['test/evidence/canonical.test.ts', 'two values have one canonical text exactly when they are equal'],
      ['test/evidence/canonical.test.ts', 'canonical JSON refuses every number that is not a safe integer'],
      ['test/evidence/canonical.test.ts', 'strings that Unicode calls equal have one canonical text'],
      ['test/evidence/line.test.ts', 'any bytes are read as an entry or a reason, and nothing but the exact encoding is an entry'],
    ],
  },
  {
    id: 'EN-03',
    promise: 'Every entry is bound to all before it, by the tree of RFC 6962; the chain of Rynxs is a view.',
    proofs: [
      ['test/tlog/tree.test.ts', 'has at every size the root that RFC 6962 defines, however it has grown'],
      ['test/evidence/tamper.test.ts', 'every single changed byte of a journal is found, wherever it is'],
      ['test/projection/views.test.ts', 'events are chained by the rule of the Rynxs log and each hash can be computed anew'],
    ],
  },
  {
    id: 'EN-04',
    promise: 'The log has one form, which every reader checks; the view has version 2 of the hash and says so in each event.',
    proofs: [['test/projection/views.test.ts', 'events are chained by the rule of the Rynxs log and each hash can be computed anew']],
  },
  {
    id: 'EN-05',
    promise: 'An event of the view says whether something was decided, applied or failed.',
    proofs: [['test/projection/views.test.ts', 'an event has a type that says whether it was decided, applied or failed']],
    later: 'agents that Kubernetes describes are not observed yet',
  },
  {
    id: 'EN-07',
    promise: 'What was decided points at what it was decided about, and every pointer can be followed.',
    proofs: [POINTERS, ['test/projection/pointers.test.ts', 'deleting any one entry that something points to is found']],
  },
  {
    id: 'EN-09',
    promise: 'What came of an action is one of a closed list of endings, and what nobody knows is unknown, never done.',
    proofs: [
      ['test/projection/fold.test.ts', 'calls, denials, failures and unknown ends are counted for who called'],
      ['test/faults/kill.test.ts', 'kill -9 of pid 1 of a sandbox, from outside, ends the call as unknown and never as success'],
    ],
  },
  {
    id: 'EN-11',
    promise: 'The log is a folder with one writer; an append is synced before it counts, files follow one another, and nothing is dropped that is not in tiles.',
    proofs: [
      ['test/evidence/durable.test.ts', 'an append resolves only after a write and a sync, in this order'],
      ['test/evidence/recover.test.ts', 'of twenty writers that start at once exactly one gets the log'],
      ['test/evidence/recover.test.ts', 'wherever the last append was torn off, the log opens with all before it and keeps the torn bytes'],
      ['test/evidence/read.test.ts', 'a follower passes from the journal to tiles and from one journal to the next without a gap or a double'],
    ],
  },
  {
    id: 'EN-20',
    promise: 'A hundred replays are one, and memory does not grow with the log; the speeds are in SPECIFICATION, each with its bench.',
    proofs: [
      ['test/projection/determinism.test.ts', 'a hundred replays of one log, each cut at other places, give one hash, and it is the one that is kept'],
      ['test/evidence/read.test.ts', 'verifying a long log takes no more memory than a short one'],
    ],
    later: 'there is no model in TLA+',
  },
  {
    id: 'H28',
    promise: 'An entry has its place and its time; when the clock is set, the log says so before anything is dated by it, and a time that goes back without a word is found.',
    proofs: [
      TOLD_OF_CLOCK,
      ['test/evidence/clock.test.ts', 'a clock that was set back while nobody looked is told by the next run'],
      ['test/evidence/clock.test.ts', 'a time that goes back in the log, and of which nothing tells, is found at its entry'],
      ['test/evidence/clock.test.ts', 'however a clock goes and is set, and wherever the log is shut, the log tells of each step and is complete'],
      ['test/timestamp/stamper.test.ts', 'a clock here that is far from the authority’s is an alarm, on either side, for as long as it lasts, and the stamp is kept'],
    ],
  },
  {
    id: 'H31',
    promise: 'The scribe signs, with a key that nobody else has; no agent does.',
    proofs: [
      ['test/evidence/tamper.test.ts', 'a key that others can read is not used'],
      ['test/evidence/tamper.test.ts', 'a log written anew by another key passes with the key beside it, and is found with the key one has'],
    ],
    later: 'an agent has no signature of its own to add',
  },
  {
    id: 'H32',
    promise: 'The policy of the bucket denies, whatever else allows: writes without the condition, removal, changes of policy and life; who reads is another than who writes.',
    proofs: [
      DENIED,
      ['test/archive/policy.test.ts', 'the role for emergencies removes and changes, and nothing but it does'],
      ['test/archive/policy.test.ts', 'whatever the request, nobody but the archiver writes, and no object is made or replaced in silence'],
      ['test/archive/verify.test.ts', 'an archive in S3 is verified by the configuration of the archiver'],
    ],
  },
  {
    id: 'H34',
    promise: 'What an agent says cannot end a line, drive a terminal, take the place of a field or grow without end.',
    proofs: [
      ['test/evidence/line.test.ts', 'append refuses ${name}, names the field, and the log stays good'],
      ['test/evidence/line.test.ts', 'the longest draft that is accepted fits a bundle and is read back'],
      ['test/evidence/audit.test.ts', 'what an agent puts into an entry cannot drive the terminal, begin a line or reorder it'],
      ['test/report/attacks.test.ts', 'a report is the same page, but for code spans, whatever text an agent chose'],
    ],
  },
  {
    id: 'H52',
    promise: 'Of two writers the second is fenced by what is written to: the store, or the lock of the folder.',
    proofs: [
      FENCED,
      ['test/archive/writers.test.ts', 'two archivers that race to bring a log never both win a head, and what is there at the end is whole'],
      ['test/evidence/remote.test.ts', 'a second scribe on the same directory is refused, and the first goes on answering'],
    ],
  },
  {
    id: 'H53',
    promise: 'Every alert that is documented is raised by a fault that a test injects, and none is raised that is not documented.',
    proofs: [
      ['test/evidence/alerts.test.ts', 'every alert has a row that says what to do, and no row is of none'],
      ['test/evidence/alerts.test.ts', 'every alert is raised by a test that injects its fault'],
    ],
  },
  {
    id: 'DEF-09',
    promise: 'No effect is without a record, whoever dies after it.',
    proofs: [KILLS, ['test/faults/kill.test.ts', 'kill -9 of control between an intent and its outcome raises an alert that the log, status and doctor show']],
  },
  {
    id: 'DEF-10',
    promise: 'Every failed write to the store is counted, under its class.',
    proofs: [COUNTED, ['test/archive/status.test.ts', 'the file says how far the archive is, what the last failure was and of which class, and counts every one']],
  },
  {
    id: 'DEF-11',
    promise: 'Who says nothing does not count as well: an archiver that is dead or was never there, and a source without its heartbeats, are told of.',
    proofs: [
      ['test/archive/status.test.ts', 'a log may grow while its archive is within the bounds, and not beyond: by time, by entries, by a fence, by an archiver that is dead or never was'],
      ['test/evidence/complete.test.ts', 'a run that goes on without its heartbeats is overdue, but not when the machine slept'],
    ],
  },
  {
    id: 'DEF-12',
    promise: 'A gate in which a test fails, or is not there, fails.',
    proofs: [
      ['test/projection/gate.test.ts', 'a test that fails or is skipped, and a file without tests, make the gate exit 1'],
      ['test/projection/gate.test.ts', 'no replay at all, and what is not understood, is exit 2'],
    ],
  },
  {
    id: 'DEF-13',
    promise: 'A report of a log that was changed exits with 1, and a log in many files is read as one.',
    proofs: [PAGE, ['test/evidence/read.test.ts', 'the last entries are found across the pieces in which a long log is read']],
  },
  {
    id: 'DEF-14',
    promise: 'A cut end is found by any head that was kept, a witness keeps it, and no file of the log is removed but for what is in tiles.',
    proofs: [
      ROLLED_BACK,
      ['test/evidence/audit.test.ts', 'verify with the head of a log that was cut exits 1, and without it 0'],
      ['test/witness/feed.test.ts', 'a running instance takes its heads to a witness; an old copy of the log that is put back and goes on is BAD against the witnessed head, and an alert says so'],
    ],
  },
  {
    id: 'DEF-15',
    promise: 'Places have no gap and never begin again; times are those of a clock that is watched; nothing of a lock or a lease is in what is hashed.',
    proofs: [TOLD_OF_CLOCK, ['test/evidence/recover.test.ts', 'a log opened again goes on where it was']],
  },
  {
    id: 'DEF-16',
    promise: 'An append to the store lists nothing, and a head that is behind is caught up with, not fought for ever.',
    proofs: [
      ['test/archive/ship.test.ts', 'a head that is followed costs no list and no read, and one that has not changed costs nothing'],
      ['test/archive/ship.test.ts', 'a log that moves on while it is brought, and drops the partial tiles of the head before, is brought at its next head'],
    ],
  },
  {
    id: 'DEF-17',
    promise: 'What IAM grants in the same account does not undo the policy, and the evaluator of the tests sees where it would.',
    proofs: [DENIED, ['test/archive/policy.test.ts', 'an Allow with a condition, as is often shipped, is undone by one grant in IAM: the evaluator sees the difference']],
  },
  {
    id: 'DEF-18',
    promise: 'The bytes of a state are signed with it, and its key is read only where nobody else may read it.',
    proofs: [
      ['test/projection/checkpoint.test.ts', 'a state of the same length with one count changed is refused without a replay'],
      ['test/projection/checkpoint.test.ts', 'every fact of the text is signed: index, root, hash, length, origin and time'],
      ['test/projection/cli.test.ts', 'a checkpoint is made, verified fast and against the log, and a key that others may use is refused'],
    ],
  },
  {
    id: 'H25',
    promise: 'Whoever can write the log cannot rewrite it: its head is signed, and a head that was kept elsewhere shows a cut end, a fork and a roll-back.',
    proofs: [
      ['test/verify/attacks.test.ts', 'names the first that is bad after ${name}'],
      ['test/verify/attacks.test.ts', 'that is asked with the key from elsewhere refuses the log of whoever has another'],
      ['test/verify/fsck.test.ts', 'accepts a log of ${size} entries as it is'],
      ['test/evidence/forged-rotation.test.ts', '${name} is the first bad entry to both verifiers, whoever signs the head'],
      ['test/evidence/rotate-live.test.ts', 'the key of an instance of root is replaced while it is down, not while it is up; what the scribe and the archiver may read stays so'],
      ['test/witness/attacks.test.ts', 'refuses ${what}'],
      ['test/witness/kill.test.ts', 'a witness that is killed ${KILLS} times at random points never signs two roots of one size, nor what it has not kept'],
      ['test/witness/feed.test.ts', 'a running instance takes its heads to a witness; an old copy of the log that is put back and goes on is BAD against the witnessed head, and an alert says so'],
      ['test/verify/scribe.test.ts', 'is good to every reader that is not ours, at every size at which it was published'],
      ['test/timestamp/live.test.ts', 'a running instance has its heads stamped; offline they verify by two public keys, also with openssl; an old copy that is put back and goes on is BAD, and an alert says so'],
    ],
  },
  {
    id: 'H27',
    promise: 'The intent is on record before the effect and the outcome after it; what a crash left open gets the outcome unknown; and an entry that is left out by who has the key is missed.',
    proofs: [
      ['test/evidence/complete.test.ts', 'a call that is left out by who has the key is missed by its numbers, and the first entry after it is named'],
      ['test/evidence/complete.test.ts', 'whatever one entry is left out of any run with heartbeats is missed, and nothing is when none is'],
      ['test/faults/kill.test.ts', 'kill -9 of control between an intent and its outcome raises an alert that the log, status and doctor show'],
      ['test/stay/record.test.ts', 'at the end of a sandbox stands what its pid 1 and the launcher have counted, and it fits the commands in the log'],
      ['test/evidence/complete.test.ts', 'an intent whose outcome is left out is found once the next run has said what it took over'],
      ['test/faults/disk.test.ts', 'a full disk of the evidence refuses what is new before it happens, lets what runs go on, and has all of it once there is room'],
      ['test/faults/output-disk.test.ts', 'OUTPUT_NOT_KEPT: a command whose output cannot be kept ends, and the answer and the log say why (${level})'],
      ['test/faults/disk.test.ts', 'a scribe that is killed while its disk is read-only says why nothing is recorded, and records again when it can be written'],
      ['test/evidence/steady.test.ts', 'a scribe whose disk fails a sync refuses, says why, and opens its log again by itself: what was acknowledged is there, once, and so is what comes after'],
      ['test/evidence/bodies.test.ts', 'whatever is offered to a scribe, what it writes has a body that readers know, and what it refuses for its body has none'],
    ],
  },
  {
    id: 'H33',
    promise: 'A verifier reads every file of the log, from the first entry to the signed head; one that is missing is bad evidence.',
    proofs: [
      ['test/verify/good.test.ts', 'of ${size} entries is good in a second opinion, against every head that was kept'],
      ['test/verify/attacks.test.ts', 'names the first that is bad after ${name}'],
      ['test/verify/scribe.test.ts', 'is good to every reader that is not ours, at every size at which it was published'],
      ['test/archive/verify.test.ts', 'an archive in which a bundle was changed, one is missing, or whose head another key has signed, is bad evidence'],
    ],
  },
];
