/** Bytes that one sandbox may pass in one turn of the event loop, and pieces that this is, as Node reads them. */
const TURN_BYTES = 262_144;
const PIECE_BYTES = 65_536;

/**
 * Takes turns between sandboxes. The gate has one event loop: what one sandbox passes before the loop comes round is what
 * every other waits for. When its share of a turn is used, its connections wait in a row, whatever number they are.
 */
export class Turn {
  #left = TURN_BYTES;
  #waiting: (() => void)[] = [];
  #isSet = false;

  /** Counts what has passed. False: the share is used, and who has more to pass waits. */
  spend(bytes: number): boolean {
    this.#left -= bytes;
    this.#set();
    return this.#left > 0;
  }

  /** Calls `go` in a later turn, after everyone who waits already. */
  wait(go: () => void): void {
    this.#waiting.push(go);
    this.#set();
  }

  #set(): void {
    if (this.#isSet) return;
    this.#isSet = true;
    setImmediate(() => {
      this.#isSet = false;
      this.#left = TURN_BYTES;
      const next = this.#waiting.splice(0, TURN_BYTES / PIECE_BYTES);
      if (this.#waiting.length > 0) this.#set();
      for (const go of next) go();
    });
  }
}
