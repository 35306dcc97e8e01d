/** So many at a time; whoever comes later waits in line. */
export class Turns {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(most: number) {
    this.#free = most;
  }

  /** The function that gives the turn back, or null when there is none free. Calling it again does nothing. */
  takeNow(): (() => void) | null {
    if (this.#free === 0) return null;
    this.#free -= 1;
    return this.#turn();
  }

  async take(): Promise<() => void> {
    const turn = this.takeNow();
    if (turn !== null) return turn;
    await new Promise<void>((go) => this.#waiting.push(go));
    return this.#turn();
  }

  #turn(): () => void {
    let isMine = true;
    return () => {
      if (!isMine) return;
      isMine = false;
      const next = this.#waiting.shift();
      if (next === undefined) this.#free += 1;
      else next();
    };
  }
}
