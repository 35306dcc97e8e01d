import type { Duplex } from 'node:stream';
import { CaissonError } from '@caisson/contract';
import { encodeLane, LANE, u32 } from './lane.ts';

/** A frame that waits until pid 1 listens again. */
interface HeldFrame {
  readonly lane: Duplex;
  readonly type: number;
  readonly exec: number;
  readonly payload: Buffer;
}

/** Flag of RESUME: the sandbox was started from saved memory, and a hello is wanted again. */
const RESTORED = 1;

/**
 * The silence between the launcher and pid 1 while the memory of a sandbox is saved. A frame that is half in that memory
 * and half in a socket of the host would be lost in one copy of the sandbox and sent twice by the other: so each side ends
 * both lanes with a last frame, and what the launcher has to say meanwhile is held back here.
 */
export class Hush {
  readonly #lanes: readonly Duplex[];
  readonly #held: HeldFrame[] = [];
  readonly #quiet = new Set<Duplex>();
  #asked: PromiseWithResolvers<void> | undefined;
  #resumeWhenQuiet = false;

  /** @param saved Whether pid 1 is quiet from the start, as it was when its memory was saved. */
  constructor(control: Duplex, data: Duplex, saved: boolean) {
    this.#lanes = [control, data];
    if (!saved) return;
    this.#asked = Promise.withResolvers();
    for (const lane of this.#lanes) this.#quiet.add(lane);
  }

  /** Sends a frame now, or when pid 1 listens again. */
  write(lane: Duplex, type: number, exec: number, payload: Buffer = Buffer.alloc(0)): void {
    if (this.#asked === undefined) lane.write(encodeLane(type, exec, payload));
    else this.#held.push({ lane, type, exec, payload });
  }

  /** What pid 1 has not heard of yet, in order. */
  get held(): readonly Pick<HeldFrame, 'type' | 'exec' | 'payload'>[] {
    return this.#held;
  }

  /** Whether pid 1 may say anything on this lane. */
  isQuiet(lane: Duplex): boolean {
    return this.#quiet.has(lane);
  }

  /** Resolves when pid 1 is quiet on both lanes. @throws CaissonError CHECKPOINT_FAILED when it has been asked already, or is gone */
  async quiesce(): Promise<void> {
    if (this.#asked !== undefined) throw new CaissonError('CHECKPOINT_FAILED', { detail: 'another checkpoint of this sandbox is under way' });
    this.#asked = Promise.withResolvers();
    for (const lane of this.#lanes) lane.write(encodeLane(LANE.quiesce, 0));
    return this.#asked.promise;
  }

  /** @throws CaissonError FRAME_INVALID when nobody asked, or twice */
  onQuiet(lane: Duplex): void {
    if (this.#asked === undefined || this.#quiet.has(lane)) throw new CaissonError('FRAME_INVALID', { detail: 'a silence that nobody asked for' });
    this.#quiet.add(lane);
    if (this.#quiet.size < this.#lanes.length) return;
    this.#asked.resolve();
    if (this.#resumeWhenQuiet) this.resume(false);
  }

  /** Has pid 1 go on, now or as soon as it is quiet, and sends what was held back. */
  resume(restored: boolean): void {
    if (this.#asked === undefined) return;
    this.#resumeWhenQuiet = this.#quiet.size < this.#lanes.length;
    if (this.#resumeWhenQuiet) return;
    this.#lanes[0]?.write(encodeLane(LANE.resume, 0, u32(restored ? RESTORED : 0)));
    this.#asked = undefined;
    this.#quiet.clear();
    for (const { lane, type, exec, payload } of this.#held.splice(0)) lane.write(encodeLane(type, exec, payload));
  }

  /** Pid 1 is gone. */
  end(detail: string): void {
    this.#asked?.promise.catch(() => undefined);
    this.#asked?.reject(new CaissonError('CHECKPOINT_FAILED', { detail }));
  }
}
