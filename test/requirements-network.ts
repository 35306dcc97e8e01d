import type { Requirement } from './requirement.ts';

/** What is asked of the network, and what proves it. */
export const NETWORK: readonly Requirement[] = [
  {
    id: 'RX-06',
    promise: 'A sandbox reaches nothing that no rule allows; rules name hosts and ports, and what more layers say can only narrow.',
    proofs: [
      ['test/egress/attack-unruled.test.ts', 'reaches nothing ${way}, and what it tried is on record (${level})'],
      ['test/egress/attack-allowed.test.ts', 'reaches it by TLS for that name, and by nothing else (${level})'],
      ['test/egress/rules.test.ts', 'a further layer or a rule that denies only narrows what a sandbox can do'],
      ['test/drivers/link.ts', '${name}: without a rule a sandbox reaches nothing ${way}, and what it tried is on record'],
      ['test/egress/docker.test.ts', 'a call reaches what it may by name, its requests are read, and what it tries beyond is refused and on record'],
    ],
    later: 'on Kubernetes there is no gate yet',
  },
  {
    id: 'BB-04',
    promise: 'Egress is allowed by destination, enforced outside the sandbox, and closed when what enforces it is gone.',
    proofs: [
      ['test/egress/attack-unruled.test.ts', 'reaches nothing ${way}, and what it tried is on record (${level})'],
      ['test/egress/attack-faults.test.ts', 'while the gate is dead nothing leaves, connections have ended, and the next gate knows the rules (${level})'],
      ['test/egress/attack-faults.test.ts', 'while the gate is stopped nothing leaves (${level})'],
      ['test/drivers/link.ts', '${name}: while the gate is stopped or dead nothing leaves, and the next gate knows the rules'],
      ['test/drivers/docker-link.test.ts', 'a container that somebody else starts again has no link, says nothing and is removed with its sandbox'],
    ],
  },
  {
    id: 'BB-09',
    promise: 'No sandbox reaches another, whatever address it takes or forges.',
    proofs: [
      ['test/egress/attack-link.test.ts', 'sends nothing beyond the gate and nothing in the name of another, and what it sends is its own on record (${level})'],
      ['test/egress/attack-unruled.test.ts', 'reaches nothing ${way}, and what it tried is on record (${level})'],
    ],
    later: 'messages between agents do not exist yet',
  },
  {
    id: 'BB-10',
    promise: 'Only destinations that were allowed by name are reached, at the port that was allowed.',
    proofs: [
      ['test/egress/attack-allowed.test.ts', 'reaches it by TLS for that name, and by nothing else (${level})'],
      ['test/authority/network.test.ts', 'what is let through is allowed by the gate where no rule of the request itself denies it, and what is refused is refused by the gate'],
    ],
  },
  {
    id: 'BB-12',
    promise: 'An attempt to get round the gate is on record with where it was meant to go.',
    proofs: [
      ['test/egress/attack-unruled.test.ts', 'reaches nothing ${way}, and what it tried is on record (${level})'],
      ['test/egress/attack-link.test.ts', 'floods the gate with such packets, and another sandbox goes on'],
    ],
    later: 'alerts come with the sentinel',
  },
  {
    id: 'H13',
    promise: 'The gate reads the server name, resolves, judges every address and connects to the one that it judged.',
    proofs: [
      ['test/egress/attack-allowed.test.ts', 'reaches it by TLS for that name, and by nothing else (${level})'],
      ['test/egress/attack-allowed.test.ts', 'a name that stands for an address that is not public is refused, and no packet goes there (${level})'],
      ['test/egress/attack-allowed.test.ts', 'an answer that changes is checked each time, and what was checked is what is connected to (${level})'],
      ['test/egress/attack-allowed.test.ts', 'where a redirect leads is decided anew (${level})'],
      ['test/egress/https.test.ts', 'what a rule allows passes, what it does not is refused with its reason, and the server proves itself to the gate (${level})'],
      ['test/egress/attack-secrets.test.ts', 'is seen by its server, and in the sandbox, on the disk of the host, in the record and in other processes by nobody (${level})'],
      ['test/egress/dns-sandbox.test.ts', 'reaches names, and is refused those that are not public, and nothing is asked in the open (${transport})'],
    ],
  },
  {
    id: 'H14',
    promise: 'No question for a name leaves the machine because a sandbox asks it; names that no rule allows do not exist.',
    proofs: [
      ['test/egress/attack-unruled.test.ts', 'reaches nothing ${way}, and what it tried is on record (${level})'],
      ['test/egress/rules.test.ts', 'a name is answered exactly when some port of it may be spoken to'],
    ],
  },
  {
    id: 'H16',
    promise: 'The door is outside of the sandbox and the only one: no variable, protocol or family of addresses leads round it.',
    proofs: [
      ['test/egress/attack-unruled.test.ts', 'reaches nothing ${way}, and what it tried is on record (${level})'],
      ['test/egress/attack-allowed.test.ts', 'without proxy variables, and with wrong ones, there is the same one way (${level})'],
    ],
  },
  {
    id: 'H17',
    promise: 'Metadata services, loopback and private networks are refused in every spelling and form.',
    proofs: [
      ['test/egress/attack-unruled.test.ts', 'reaches nothing ${way}, and what it tried is on record (${level})'],
      ['test/egress/attack-allowed.test.ts', 'a name that stands for an address that is not public is refused, and no packet goes there (${level})'],
      ['test/egress/address.test.ts', 'metadata is opened by a range of one address only'],
    ],
  },
  {
    id: 'BS-01',
    promise: 'What is written down of a secret is where it comes from, and never the secret.',
    proofs: [
      ['test/vault/process.test.ts', 'control leases what the policy names, from every kind of source, and the gate gets the values'],
      ['test/vault/kubernetes.test.ts', 'in a pod a key of a Secret is asked for as its service account, at the path of the API'],
      ['test/egress/attack-secrets.test.ts', 'is seen by its server, and in the sandbox, on the disk of the host, in the record and in other processes by nobody (${level})'],
    ],
  },
  {
    id: 'BS-03',
    promise: 'A program that needs a secret itself reads it from a file on a tmpfs, mode 0400, of the sandbox\'s user alone, and nothing of it is in an environment.',
    proofs: [
      ['test/vault/attack-files.test.ts', 'is in its file, for the sandbox\'s user alone, and nowhere else in the sandbox, on the host or on record (${level})'],
      ['test/vault/attack-files.test.ts', 'can be read on the host by root and the sandbox\'s own uid, and by no other (${level})'],
      ['test/drivers/secrets.test.ts', '${name}: nothing in the sandbox can change, replace, cover or unmount it'],
      ['test/drivers/secrets.test.ts', '${name}: who reads while it is replaced sees one whole value or the other'],
    ],
  },
  {
    id: 'BS-04',
    promise: 'A sandbox cannot reach the vault, nor make it look anything up that the policy does not name.',
    proofs: [
      ['test/vault/process.test.ts', 'each socket of the vault is of the one process that may connect'],
      ['test/vault/leases.test.ts', 'who restores a lease cannot widen it: where it goes is the policy\'s, and what is over or unknown stays so'],
      ['test/sandbox/secrets.test.ts', 'a secret that is none of the policy is refused before anything is leased'],
    ],
  },
  {
    id: 'BS-07',
    promise: 'A secret that cannot be had starts nothing, and none of those asked for with it is leased.',
    proofs: [
      ['test/vault/leases.test.ts', 'all or nothing: when one secret cannot be had none is leased, and nothing is kept'],
      ['test/sandbox/secrets.test.ts', 'a secret that cannot be had starts nothing, leaves nothing, and is on record as the reason'],
      ['test/egress/attack-secrets.test.ts', 'that cannot be had, or is none of the policy, starts nothing'],
      ['test/vault/kubernetes.test.ts', 'an answer that is refused is told by its kind, and nothing of it is'],
      ['test/vault/aws.test.ts', 'what is no such output is refused by the names of its fields, and no part of it is told'],
    ],
  },
  {
    id: 'H45',
    promise: 'An agent uses a secret that it does not have: the gate puts it in, for its hosts alone, and keeps it from coming back.',
    proofs: [
      ['test/egress/attack-secrets.test.ts', 'is seen by its server, and in the sandbox, on the disk of the host, in the record and in other processes by nobody (${level})'],
      ['test/egress/attack-secrets.test.ts', 'that comes back from its server does not reach the sandbox (${level})'],
      ['test/egress/attack-secrets.test.ts', 'goes nowhere else: another host, another method, path or place, plain HTTP, or a sandbox that did not ask for it'],
      ['test/egress/attack-https.test.ts', 'does not tell the secret to a later request that has none'],
      ['test/egress/attack-https.test.ts', 'and says what the agent tells it is no oracle: what is held back does not depend on the secret'],
      ['test/egress/attack-aws.test.ts', 'signs what a client inside has signed by another, by HTTP/1.1 and HTTP/2, and is nowhere inside (${level})'],
      ['test/egress/attack-aws.test.ts', 'signs nothing else: another scope, host, method, path or clock, another sandbox, an address, a body that is not read, or a request that was changed'],
      ['test/egress/sigv4.test.ts', 'what a client signs by the placeholder is signed by the real key as the signer of AWS does it, whatever the request is'],
    ],
  },
  {
    id: 'H46',
    promise: 'A secret is leased to one sandbox, for a time, and every use is on record; it can be taken back and replaced while it is in use.',
    proofs: [
      ['test/egress/attack-secrets.test.ts', 'that is revoked goes with no request more, and what it went out on is cut'],
      ['test/egress/attack-https.test.ts', 'gets nothing after a revocation, also from a request that was waiting for its address'],
      ['test/egress/attack-secrets.test.ts', 'that is rotated is the new one from the next request on'],
      ['test/egress/attack-secrets.test.ts', 'whose time is over is not put in any more'],
      ['test/egress/attack-aws.test.ts', 'of temporary credentials the token goes with it, comes back to nobody, and those that are over are looked up anew'],
      ['test/sandbox/secrets.test.ts', 'what is leased ends with its sandbox, however that ends'],
      ['test/vault/attack-files.test.ts', 'is gone within a second of its revocation, from this sandbox and no other, and is counted while it is there (${level})'],
      ['test/vault/attack-files.test.ts', 'is leased anew to a fork, or not at all, and is what it has left to a sandbox that is put back (${level})'],
    ],
  },
  {
    id: 'H47',
    promise: 'A secret that is a file is written by the launcher through a descriptor before anything runs; it is in no argument, log or record.',
    proofs: [
      ['test/drivers/secrets.test.ts', '${name}: the sandbox\'s user alone can read the file, as it came, and nothing of it is in the bundle'],
      ['test/drivers/secrets.test.ts', '${name}: when one of its secrets cannot be had nothing starts, and nothing is left'],
      ['test/vault/attack-files.test.ts', 'is in its file, for the sandbox\'s user alone, and nowhere else in the sandbox, on the host or on record (${level})'],
      ['test/vault/attack-files.test.ts', 'goes with the launcher: whenever that is killed, nothing of it is mounted and no sandbox has it'],
    ],
  },
];
