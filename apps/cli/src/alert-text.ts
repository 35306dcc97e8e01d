import { printable, type Alert } from '@caisson/contract';

/** An alert of the log, as `status` and `doctor` show it. */
export function alertText({ alert, severity, reason, timeMs }: Alert): string {
  return printable(`alert  ${new Date(timeMs).toISOString()}  ${severity}  ${alert}: ${reason}`);
}
