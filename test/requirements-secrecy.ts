import type { Requirement } from './requirement.ts';

const FORGOTTEN = ['test/sealing/canary.test.ts', 'EVIDENCE_KEY_ERASED: is in no file of the evidence in the clear, opens with the key, proves the commitments, and opens for nobody once the key is erased'] as const;
const OF_REQUESTS = ['test/sealing/canary-requests.test.ts', 'what a request says in its query, its fields and its body is in no file of the evidence in the clear, and its query opens with the key'] as const;
const ONE_PEER = ['test/sealing/canary.test.ts', 'no process but root and the scribe itself may ask for what is sealed'] as const;

/** What is asked of the secrecy of the record, and what proves it. */
export const SECRECY: readonly Requirement[] = [
  {
    id: 'KA-08',
    promise: 'What one of our processes says to another goes over a socket of the kernel that the one peer alone may open: nobody stands between them whom a MAC could find out.',
    proofs: [
      ['test/wire/listen.test.ts', 'makes a file that only its owner may connect to'],
      ['test/wire/listen.test.ts', 'gives the file to one peer, or to one group'],
      ONE_PEER,
    ],
  },
  {
    id: 'KA-09',
    promise: 'What is private is in the log as AES-256-GCM text only, and the log verifies without any key.',
    proofs: [
      FORGOTTEN,
      OF_REQUESTS,
      ['test/sealing/seal.test.ts', 'a sealed text with any bit changed, or cut anywhere, does not open'],
      ['test/sealing/ring.test.ts', 'keys are worthless without the wrap key, and one that is put in the place of another is refused'],
    ],
  },
  {
    id: 'KA-12',
    promise: 'What a command read and wrote is on record with its time: how many bytes, and commitments to them, whose salt and digests are sealed; keys are one for each day.',
    proofs: [FORGOTTEN, ['test/sealing/ring.test.ts', 'a segment is so many entries or so long, and never gets smaller']],
    later: 'single system calls are not traced',
  },
  {
    id: 'H26',
    promise: 'Nothing in the open lets a guess be tried: digests of what could be guessed are salted, and the salt sealed, or keyed by a key of the tenant; nothing of output is previewed; an auditor gets the keys of what they may read.',
    proofs: [
      FORGOTTEN,
      ['test/sandbox/open.test.ts', 'the record holds neither arguments nor variables nor output but in what is sealed, and the caller can prove what was asked'],
      ['test/sealing/ring.test.ts', 'digests of equal values are equal for one tenant and label, and differ for another tenant, label or ring'],
      ['test/sealing/erase.test.ts', 'an auditor opens with escrowed keys, offline, what they sealed and nothing else'],
    ],
  },
  {
    id: 'H29',
    promise: 'When a sandbox is gone its record is not: what was asked for, by which policy and image, what it delivered, its end, its use of resources, commitments to its streams, and of a sandbox that stays the streams themselves.',
    proofs: [FORGOTTEN, ['test/recording/replay.test.ts', 'a terminal and a command without one are recorded, match the log, and replay as they were']],
    later: 'files that a command has made are not hashed before they are removed',
  },
  {
    id: 'H30',
    promise: 'Encryption is not taken for integrity: the tree of the log and its signature are over the sealed text, whose keys are one for each caller and day and can be erased.',
    proofs: [
      FORGOTTEN,
      ['test/sealing/seal.test.ts', 'a sealed text that is moved to an entry of another subject, kind or source does not open'],
      ['test/sealing/erase.test.ts', 'what an erased tenant had sealed opens for nobody and says since when; what it seals later is by another key'],
      ['test/sealing/erase.test.ts', 'keys of segments before one are erased, and none of them is ever made again'],
    ],
  },
];
