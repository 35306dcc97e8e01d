import { Duplex } from 'node:stream';
import { CaissonError } from '@caisson/contract';

/** `[stream, 0, 0, 0, length]`, the length big-endian (Docker Engine API, ContainerAttach, "Stream format"). */
const HEADER_BYTES = 8;
const STDOUT = 1;
const STDERR = 2;

interface Lanes {
  /** Out on stderr. */
  readonly control: Duplex;
  /** Out on stdout. */
  readonly data: Duplex;
}

/**
 * The two lanes of a sandbox over one attached stream. Both go in as they are, for pid 1 tells their frames apart. Reading
 * never waits for either: what may be under way on a lane is bounded by its windows. The end of one is the end of all.
 */
export function splitStream(stream: Duplex): Lanes {
  const [control, data] = [lane(stream), lane(stream)];
  const end = (error?: Error): void => {
    for (const each of [control, data]) {
      if (error === undefined) each.push(null);
      else each.destroy(error);
    }
  };
  let header = Buffer.alloc(0);
  let to = control;
  let left = 0;

  function take(chunk: Buffer): void {
    for (let at = 0; at < chunk.length; ) {
      if (left > 0) {
        const part = chunk.subarray(at, at + left);
        at += part.length;
        left -= part.length;
        to.push(part);
        continue;
      }
      const part = chunk.subarray(at, at + HEADER_BYTES - header.length);
      at += part.length;
      header = Buffer.concat([header, part]);
      if (header.length < HEADER_BYTES) return;
      const [kind] = header;
      if (kind !== STDOUT && kind !== STDERR) throw new CaissonError('FRAME_INVALID', { detail: `stream ${kind} of a container` });
      to = kind === STDOUT ? data : control;
      left = header.readUInt32BE(4);
      header = Buffer.alloc(0);
    }
  }

  stream.on('data', (chunk: Buffer) => {
    try {
      take(chunk);
    } catch (error) {
      end(error as Error);
      stream.destroy();
    }
  });
  stream.on('error', () => undefined);
  stream.on('end', () => end());
  stream.on('close', () => end());
  return { control, data };
}

function lane(stream: Duplex): Duplex {
  return new Duplex({
    allowHalfOpen: false,
    read: () => undefined,
    write(chunk: Buffer, _encoding, done) {
      if (stream.destroyed) done(new CaissonError('SANDBOX_LOST', { detail: 'its stream has ended' }));
      else if (stream.write(chunk)) done();
      else stream.once('drain', done);
    },
    destroy(error, done) {
      stream.destroy();
      done(error);
    },
  });
}
