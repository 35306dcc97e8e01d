import { constants } from 'node:os';

const NAMES = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** A signal to this process came before there was a command that it could go to. */
export class Interrupted extends Error {
  readonly signalName: NodeJS.Signals;
  /** Exit status that says so: 128 and the number of the signal. */
  readonly status: number;

  constructor(signalName: (typeof NAMES)[number]) {
    super(`${signalName} came before the command had begun`);
    this.signalName = signalName;
    this.status = 128 + constants.signals[signalName];
  }
}

/**
 * Until it is disposed of, SIGINT, SIGTERM and SIGHUP do not end this process, so that it can take back what it has made: the
 * first aborts `signal`, whose reason is an `Interrupted`; more of them change nothing. SIGQUIT ends it as ever.
 */
export function interruption(): Disposable & { readonly signal: AbortSignal } {
  const interrupted = new AbortController();
  const take = (name: NodeJS.Signals): void => interrupted.abort(new Interrupted(name as (typeof NAMES)[number]));
  for (const name of NAMES) process.on(name, take);
  return { signal: interrupted.signal, [Symbol.dispose]: () => NAMES.forEach((name) => void process.off(name, take)) };
}
