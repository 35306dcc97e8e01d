/** Bytes that one sandbox may pass in one turn of the event loop, and pieces that this is, as Node reads them. */
const TURN_BYTES = 262_144;
const PIECE_BYTES = 65_536;
/** The same while another sandbox has something small to do, and the least time between two such turns. */
const BESIDE_BYTES = 65_536;
const BESIDE_MS = 2;
/** How long who has asked for something small is taken for one who goes on with that, and bytes that are small. */
const ASKING_MS = 250;
const SMALL_BYTES = 4_096;

/** Who in a gate has something small to do: a connection to make, a question, a few bytes to say. It is remembered of the last two. */
export class Neighbours {
  readonly #nowMs: () => number;
  #last: { readonly who: Turn; readonly atMs: number } | null = null;
  #before: { readonly who: Turn; readonly atMs: number } | null = null;

  constructor(nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs;
  }

  note(who: Turn): void {
    if (this.#last?.who !== who) this.#before = this.#last;
    this.#last = { who, atMs: this.#nowMs() };
  }

  /** Whether somebody else has had something small to do just now. */
  isAnotherAsking(who: Turn): boolean {
    const other = this.#last?.who === who ? this.#before : this.#last;
    return other !== null && this.#nowMs() - other.atMs < ASKING_MS;
  }
}

/**
 * Takes turns between sandboxes. The gate has one event loop: what one sandbox passes before the loop comes round is what
 * every other waits for. When its share of a turn is used, its connections wait in a row, whatever number they are. Who passes
 * much leaves the processor to who has something small to do: beside such a sandbox it has a smaller share, and less often.
 */
export class Turn {
  readonly #neighbours: Neighbours;
  #left = TURN_BYTES;
  #waiting: (() => void)[] = [];
  #isSet = false;

  constructor(neighbours: Neighbours = new Neighbours()) {
    this.#neighbours = neighbours;
  }

  /** Notes that its sandbox has something small to do. */
  ask(): void {
    this.#neighbours.note(this);
  }

  /** Counts what has passed. False: the share is used, and who has more to pass waits. */
  spend(bytes: number): boolean {
    if (bytes < SMALL_BYTES) this.ask();
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
    if (this.#neighbours.isAnotherAsking(this)) setTimeout(() => this.#next(BESIDE_BYTES), BESIDE_MS);
    else setImmediate(() => this.#next(TURN_BYTES));
  }

  #next(share: number): void {
    this.#isSet = false;
    this.#left = share;
    const next = this.#waiting.splice(0, share / PIECE_BYTES);
    if (this.#waiting.length > 0) this.#set();
    for (const go of next) go();
  }
}
