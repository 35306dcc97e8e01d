import type { Asked, Connection } from './connection.ts';
import { CREDIT_BYTES, PAYLOAD_MAX, REPLY, REQUEST, violation, type RequestFields } from './frames.ts';
import { decodeOne, type FileRecord } from './info.ts';

/** A file being written. It has no name until `commit`; `abandon`, or the end of the helper, leaves nothing of it. */
export class Upload {
  readonly #path: Buffer;
  readonly #outcome = Promise.withResolvers<Buffer>();
  #asked: Asked | undefined;
  #underWay = 0;
  #isOver = false;
  #wake: (() => void) | undefined;

  private constructor(path: Buffer) {
    this.#path = path;
    this.#outcome.promise.catch(() => undefined);
  }

  static async open(connection: Connection, fields: RequestFields): Promise<Upload> {
    const upload = new Upload(fields.path);
    upload.#asked = await connection.ask(REQUEST.write, fields, {
      reply: (frame) => {
        if (frame.type !== REPLY.ack || frame.payload.length !== 4) throw violation('not an acknowledgement');
        upload.#underWay -= frame.payload.readUInt32LE(0);
        upload.#rouse();
      },
      done: (payload) => upload.#end(() => upload.#outcome.resolve(payload)),
      failed: (error) => upload.#end(() => upload.#outcome.reject(error)),
    });
    return upload;
  }

  /** Resolves once the bytes are under way, or once the helper has refused the file: `commit` says why. */
  async write(bytes: Buffer): Promise<void> {
    for (let at = 0; at < bytes.length && !this.#isOver; at += PAYLOAD_MAX) {
      const piece = bytes.subarray(at, at + PAYLOAD_MAX);
      while (!this.#isOver && this.#underWay + piece.length > CREDIT_BYTES) await this.#change();
      if (this.#isOver) return;
      this.#underWay += piece.length;
      this.#asked?.send(REQUEST.data, piece);
    }
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** Resolves once every byte so far is in the file, which still has no name. @throws CaissonError */
  async settled(): Promise<void> {
    while (!this.#isOver && this.#underWay > 0) await this.#change();
    if (this.#isOver) await this.#outcome.promise;
  }

  /** Puts the file under its name, if what is there has this version. @throws CaissonError */
  async commit(version?: Buffer): Promise<FileRecord> {
    if (!this.#isOver) this.#asked?.send(REQUEST.commit, version);
    return decodeOne(await this.#outcome.promise, this.#path);
  }

  /** Resolves once nothing is left. */
  async abandon(): Promise<void> {
    if (!this.#isOver) this.#asked?.cancel();
    await this.#outcome.promise.catch(() => undefined);
  }

  async #change(): Promise<void> {
    await new Promise<void>((wake) => {
      this.#wake = wake;
    });
  }

  #end(settle: () => void): void {
    this.#isOver = true;
    settle();
    this.#rouse();
  }

  #rouse(): void {
    this.#wake?.();
    this.#wake = undefined;
  }
}
