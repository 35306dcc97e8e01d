import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { CaissonError } from '@caisson/contract';
import { decodeExit, decodeFailed, encodeLane, LANE_HEADER_BYTES, LANE_PAYLOAD_MAX, LaneReader, parseHello, type LaneFrame } from '@caisson/runtime';

const byte = fc.integer({ min: 0, max: 255 });
const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
const frames = fc.array(fc.record({ type: byte, exec: u32, payload: fc.uint8Array({ maxLength: 40 }) }), { maxLength: 12 });
const cuts = fc.array(fc.nat({ max: 600 }), { maxLength: 30 });

/** The same bytes in other chunks; some of them empty. */
function split(bytes: Buffer, at: readonly number[]): Buffer[] {
  const edges = [0, ...at.map((cut) => Math.min(cut, bytes.length)).sort((a, b) => a - b), bytes.length];
  return edges.slice(1).map((end, index) => bytes.subarray(edges[index], end));
}

const plain = ({ type, stream, exec, payload }: LaneFrame): unknown => [type, stream, exec, payload.toString('hex')];

function read(chunks: readonly Buffer[]): unknown[] {
  const reader = new LaneReader();
  return chunks.flatMap((chunk) => [...reader.push(chunk)].map(plain));
}

/** Whether `parse` refuses the bytes; anything it throws but FRAME_INVALID is thrown on. */
function refuses(parse: () => unknown): boolean {
  try {
    parse();
    return false;
  } catch (error) {
    if (error instanceof CaissonError && error.code === 'FRAME_INVALID') return true;
    throw error;
  }
}

test('a lane read in any chunks gives the frames that were written', () => {
  fc.assert(fc.property(frames, cuts, (written, at) => {
    const bytes = Buffer.concat(written.map(({ type, exec, payload }) => encodeLane(type, exec, payload)));
    assert.deepEqual(read(split(bytes, at)), written.map(({ type, exec, payload }) => [type, 0, exec, Buffer.from(payload).toString('hex')]));
  }), { numRuns: 500 });
});

test('a frame that has not arrived whole is not handed out', () => {
  fc.assert(fc.property(fc.uint8Array({ minLength: 1, maxLength: 60 }), fc.nat(), (payload, cut) => {
    const bytes = encodeLane(1, 1, payload);
    assert.deepEqual(read([bytes.subarray(0, cut % bytes.length)]), []);
  }));
});

test('hostile bytes on a lane are FRAME_INVALID in any chunks, or frames within bounds', () => {
  const hostile = fc.array(fc.oneof(fc.uint8Array({ maxLength: 40 }), fc.tuple(byte, u32, fc.uint8Array({ maxLength: 20 })).map(([type, exec, payload]) => encodeLane(type, exec, payload))), { maxLength: 8 });
  fc.assert(fc.property(hostile, cuts, (parts, at) => {
    const bytes = Buffer.concat(parts);
    const readAll = (chunks: readonly Buffer[]): LaneFrame[] => {
      const reader = new LaneReader();
      return chunks.flatMap((chunk) => [...reader.push(chunk)]);
    };
    const refused = refuses(() => readAll([bytes]));
    assert.equal(refuses(() => readAll(split(bytes, at))), refused);
    if (!refused) for (const { payload } of readAll([bytes])) assert.ok(payload.length <= LANE_PAYLOAD_MAX);
  }), { numRuns: 1_000 });
});

test('a length that is announced beyond the longest is refused before any of it is held', () => {
  const header = encodeLane(1, 1).subarray(0, LANE_HEADER_BYTES);
  header.writeUInt32LE(LANE_PAYLOAD_MAX + 1, 0);
  assert.ok(refuses(() => [...new LaneReader().push(header)]));
});

test('an exit of any bytes is FRAME_INVALID or possible', () => {
  fc.assert(fc.property(fc.uint8Array({ minLength: 44, maxLength: 52 }), fc.array(fc.nat({ max: 47 })), (bytes, zeros) => {
    const payload = Buffer.from(bytes);
    for (const at of [1, 2, 3, 5, 6, 7, 38, 39, 46, 47, ...zeros]) if (at < payload.length) payload[at] = 0;
    if (refuses(() => decodeExit(payload))) return;
    const { signaled, value, written } = decodeExit(payload);
    assert.ok(signaled ? value >= 1 && value <= 64 : value >= 0 && value <= 255);
    assert.ok(written.every((count) => Number.isSafeInteger(count) && count >= 0));
  }), { numRuns: 2_000 });
});

const EXITS = [
  ['signal 0', 1, 0], ['signal 65', 1, 65], ['exit status 256', 0, 256], ['an end of neither kind', 2, 9],
] as const;
for (const [what, flag, value] of EXITS) {
  test(`an exit that reports ${what} is FRAME_INVALID`, () => {
    const payload = Buffer.alloc(48);
    payload.writeUInt32LE(flag, 0);
    payload.writeUInt32LE(value, 4);
    assert.ok(refuses(() => decodeExit(payload)));
  });
}

test('a failure of any bytes is FRAME_INVALID or has a stage and an errno', () => {
  fc.assert(fc.property(fc.constantFrom(4, 8, 12), fc.integer({ min: 0, max: 5 }), u32, (length, stage, errno) => {
    const payload = Buffer.alloc(Math.max(length, 8));
    payload.writeUInt32LE(stage, 0);
    payload.writeUInt32LE(errno, 4);
    const valid = length === 8 && stage >= 1 && stage <= 4 && errno <= 4095;
    assert.equal(refuses(() => decodeFailed(payload.subarray(0, length))), !valid);
  }));
});

const STATUS = 'Name:\tinit\nCapInh:\t0000000000000000\nCapPrm:\t0000000000000001\nCapEff:\t0000000000000002\nCapBnd:\t0000000000000000\nCapAmb:\t0000000000000010\nNoNewPrivs:\t1\nSeccomp:\t2\n';
const HELLO: Readonly<Record<string, string>> = {
  kernel: '6.1.0', hostname: 'caisson', pid: '1', uid: '1000', gid: '1000', landlock: '3', root_read_only: '1', other_processes: '0', user_namespace_owner: '0',
  '/proc/sys/user/max_inotify_instances': '16\n', '/proc/sys/user/max_inotify_watches': '',
  '/proc/version': 'Linux version 6.1.0\n', '/proc/self/status': STATUS, '/proc/self/uid_map': '         0 1879048192          1\n', '/proc/self/gid_map': '',
  '/proc/net/dev': 'Inter-|   Receive\n face |bytes\n    lo:       0\n', '/proc/self/ns/pid': 'pid:[4026532182]',
};
const encodeHello = (values: Readonly<Record<string, string>>): Buffer => Buffer.from(Object.entries(values).map(([name, value]) => `${name}\0${value}\0`).join(''));

test('a hello says what pid 1 saw', () => {
  assert.deepEqual(parseHello(encodeHello(HELLO)), {
    kernel: '6.1.0', version: 'Linux version 6.1.0', hostname: 'caisson', pid: 1, uid: 1000, gid: 1000, landlockAbi: 3, rootReadOnly: true,
    otherProcesses: 0, capabilities: '13', noNewPrivileges: true, seccomp: 2, namespaceOwner: 0, inotifyInstances: 16, inotifyWatches: null, uidMap: '0 1879048192 1', interfaces: ['lo'], namespaces: { pid: 'pid:[4026532182]' },
  });
});

const NEEDED = Object.keys(HELLO).filter((name) => name !== '/proc/self/gid_map' && name !== '/proc/self/ns/pid');
for (const name of NEEDED) {
  test(`a hello without ${name} is FRAME_INVALID`, () => {
    assert.ok(refuses(() => parseHello(encodeHello(Object.fromEntries(Object.entries(HELLO).filter(([key]) => key !== name))))));
  });
}

for (const [line, without] of [['Seccomp', STATUS.replace('Seccomp:\t2', 'Seccomp:\ttwo')], ['CapEff', STATUS.replace('CapEff:\t0000000000000002', 'CapEff:\t')]] as const) {
  test(`a hello whose ${line} is no number is FRAME_INVALID`, () => {
    assert.ok(refuses(() => parseHello(encodeHello({ ...HELLO, '/proc/self/status': without }))));
  });
}

test('a hello of any bytes is FRAME_INVALID or has every field', () => {
  const good = encodeHello(HELLO);
  const flips = fc.array(fc.tuple(fc.nat({ max: good.length - 1 }), byte), { maxLength: 6 });
  const damaged = fc.tuple(flips, fc.nat({ max: good.length })).map(([changes, cut]) => {
    const copy = Buffer.from(good);
    for (const [at, value] of changes) copy[at] = value;
    return cut % 3 === 0 ? copy.subarray(0, cut) : copy;
  });
  fc.assert(fc.property(fc.oneof(damaged, fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes))), (payload) => {
    if (refuses(() => parseHello(payload))) return;
    const hello = parseHello(payload);
    for (const value of [hello.pid, hello.uid, hello.gid, hello.landlockAbi, hello.otherProcesses, hello.seccomp, hello.namespaceOwner, hello.inotifyInstances ?? 0, hello.inotifyWatches ?? 0]) assert.ok(Number.isSafeInteger(value));
    assert.match(hello.capabilities, /^[0-9a-f]+$/);
  }), { numRuns: 3_000 });
});
