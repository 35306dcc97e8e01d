const CTRL_P = 0x10;
const CTRL_Q = 0x11;

/** What of typed bytes goes on, and whether the detach keys were among them: nothing after them goes on. */
export interface Typed {
  readonly bytes: Buffer;
  readonly detached: boolean;
}

/** Looks for Ctrl-P Ctrl-Q in what is typed, in pieces cut anywhere. A Ctrl-P waits for the key after it, and goes on with any other. */
export function detachKeys(): (chunk: Buffer) => Typed {
  let held = false;
  return (chunk) => {
    const bytes = held ? Buffer.concat([Buffer.of(CTRL_P), chunk]) : chunk;
    const at = bytes.indexOf(Buffer.of(CTRL_P, CTRL_Q));
    if (at !== -1) {
      held = false;
      return { bytes: bytes.subarray(0, at), detached: true };
    }
    held = bytes.at(-1) === CTRL_P;
    return { bytes: held ? bytes.subarray(0, -1) : bytes, detached: false };
  };
}
