/** Every alert that Caisson raises. The name of a part, such as a witness, may follow after a space. docs/audit.md says what to do. */
export const ALERTS = [
  'orphan-intents',
  'tiles-not-written',
  'evidence-not-written',
  'clock-stepped',
  'key-rotated',
  'archive-fenced',
  'archive-forked',
  'archive-damaged',
  'witness-fork',
  'witness-rollback',
  'timestamp-fork',
  'timestamp-rollback',
  'timestamp-clock',
  'mirror-behind',
] as const;
export type AlertName = (typeof ALERTS)[number];
