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
    ],
    later: 'rules on what TLS carries, and credentials added by the gate, are not there yet',
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
];
