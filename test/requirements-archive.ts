import type { Requirement } from './requirement.ts';

/** What is asked of the archive of the evidence, and what proves it. */
export const ARCHIVE: readonly Requirement[] = [
  {
    id: 'EN-12',
    promise: 'The log is kept in S3: each object is written once by If-None-Match, read back by pages where it is listed, and checked against the signed head.',
    proofs: [
      ['test/archive/ship.test.ts', 'a log that grows is brought whole, its partial tiles and the head of each size with it, and each object once'],
      ['test/archive/ship.test.ts', 'a head that is followed costs no list and no read, and one that has not changed costs nothing'],
      ['test/archive/ship.test.ts', 'what is read back is the log: its head, its entries and its proofs; and a store that does not answer is never one without the object'],
      ['test/archive/stores.test.ts', '${name}: a list has every key once, page by page'],
      ['test/archive/stores.test.ts', '${name}: an object is never written over another, and the refusal is PreconditionFailed'],
    ],
  },
  {
    id: 'EN-13',
    promise: 'A head is written only over the one that was seen; who has not seen the last one is refused by the store.',
    proofs: [
      ['test/archive/stores.test.ts', '${name}: an object is replaced by who has seen it, and by nobody who has seen an older one or none'],
      ['test/archive/stores.test.ts', '${name}: of sixteen that write at once exactly one wins'],
      ['test/archive/writers.test.ts', 'of two archivers of one log the second that writes is fenced by the store itself, and so is it after a new start'],
      ['test/archive/writers.test.ts', 'two logs that differ and race: one wins, the other is told that it is a fork'],
    ],
  },
  {
    id: 'S3-01',
    promise: 'The policy of the bucket denies every write without its condition, whatever IAM grants, and lets the parts of an upload through.',
    proofs: [
      ['test/archive/policy.test.ts', 'whoever ${what} is denied, whatever IAM grants in the same account'],
      ['test/archive/policy.test.ts', 'parts of an upload need no condition, and what makes the object of them does'],
      ['test/archive/policy.test.ts', 'the command prints the policy that is tested here'],
    ],
    later: 'the policy is evaluated by the tests, not by AWS',
  },
  {
    id: 'S3-02',
    promise: 'What is archived can be locked for years, and the lock is sent with every object that stays.',
    proofs: [
      ['test/archive/stores.test.ts', 'S3: where a lock is configured, what is kept is written with its mode and its day, and the head without'],
      ['test/archive/policy.test.ts', 'without a lock nobody but the role for emergencies locks'],
    ],
  },
  {
    id: 'S3-03',
    promise: 'A write that is not allowed and one that comes second are told apart, counted, and neither is lost nor doubled.',
    proofs: [
      ['test/archive/ship.test.ts', '${name} at any request stops nothing for good: the store is brought whole, nothing is lost or doubled, and ${errorClass} is counted'],
      ['test/archive/status.test.ts', 'the file says how far the archive is, what the last failure was and of which class, and counts every one'],
      ['test/archive/stores.test.ts', 'S3: a bucket that is not there is NoSuchBucket, for a read, a write and a list'],
    ],
  },
  {
    id: 'S3-04',
    promise: 'One role writes the archive, and one service account has it.',
    proofs: [
      ['test/archive/policy.test.ts', 'whatever the request, nobody but the archiver writes, and no object is made or replaced in silence'],
      ['test/archive/policy.test.ts', 'the role of the archiver is assumed by one service account of one cluster, and by no other'],
    ],
  },
  {
    id: 'RX-25',
    promise: 'The log survives its host: it is archived as it grows, catches up after any outage, and what was archived is never overwritten.',
    proofs: [
      ['test/archive/live.test.ts', 'S3 that refuses, is busy, silent or slow: what would be recorded is stopped with the class of the failure, and the bucket is whole in the end'],
      ['test/archive/ship.test.ts', 'after an outage in which the log has grown by thousands of entries the store catches up without a gap or a double'],
      ['test/archive/kill.test.ts', 'an archiver that is killed ${KILLS} times at random points and then runs once leaves in the store what is published, byte for byte'],
      ['test/archive/writers.test.ts', '${name}: a log that was cut off behind what is archived is not written, and says so'],
      ['test/archive/writers.test.ts', '${name}: a head that somebody put back, removed or replaced is found, and nothing is written over it'],
    ],
  },
  {
    id: 'BV-04',
    promise: 'The audit log is forwarded as it grows, by a process that cannot read its key, to a store that keeps, and can be verified there.',
    proofs: [
      ['test/archive/process.test.ts', 'an archiver runs beside the others where one is configured, under a uid of its own and without a privilege, and status shows what it says'],
      ['test/archive/process.test.ts', 'the archiver reads what is published to its group, from inside a directory that it cannot list, and not the key that lies beside it'],
      ['test/archive/ship.test.ts', 'where ${what}, no head of it is written, and a repair is taken up'],
      ['test/archive/live.test.ts', 'what the scribe publishes is archived as it grows, what was published before there was an archive too, and the archiver can open nothing else'],
      ['test/archive/status.test.ts', 'a log may grow while its archive is within the bounds, and not beyond: by time, by entries, by a fence, by an archiver that is dead or never was'],
    ],
  },
];
