import assert from 'node:assert/strict';
import { Sandbox, type ConnectionOptions, type Process } from '@caisson/sdk';
import type { Level } from '@caisson/contract';
import { digest, EMPTY, SMALL_BYTES, union, withFile, withoutFile, type Contents, type Files, type Model, type ModelBox, type Pending } from './model.ts';

/** One operation, chosen but not begun. */
export interface Operation {
  readonly name: string;
  /** The sandbox or name that it works on, which no other operation of the round does. */
  readonly subject: string;
  /** Does it, checks what it gave, and returns how the model changes. */
  act(): Promise<() => void>;
  /** What may have come of it when it was cut off. */
  cut?(): Pending;
}

export interface Choosing {
  readonly model: Model;
  readonly connection: ConnectionOptions;
  readonly levels: readonly Level[];
  readonly random: () => number;
  /** Number of the operation, which is its label. */
  readonly number: number;
  readonly mostBoxes: number;
}

const MOST_SNAPSHOTS = 40;
const MOST_NAMED = 25;
const PATHS = ['a', 'b', 'c', 'deep/d', 'deep/e'];

const pick = <T>(random: () => number, all: readonly T[]): T => all[Math.floor(random() * all.length)] as T;

/** Bytes that follow from a number, up to 64 KiB. */
function bytesFor(number: number, random: () => number): Buffer {
  return Buffer.alloc(1 + Math.floor(random() * 65_536), `${number} `);
}

/** An operation that makes sense now, on none of the subjects that are taken; null when the one that was drawn does not. */
export function choose(choosing: Choosing, taken: ReadonlySet<string>): Operation | null {
  const { model, random, mostBoxes } = choosing;
  const free = [...model.boxes.values()].filter(({ sandbox }) => !taken.has(sandbox.id));
  const crowded = model.boxes.size >= mostBoxes;
  if (free.length === 0 || (!crowded && random() < Math.max(0.06, 0.3 * (1 - model.boxes.size / mostBoxes)))) return crowded ? null : creation(choosing, taken);
  if (model.snapshots.size > MOST_SNAPSHOTS) return removeSnapshot(choosing, taken);
  const box = pick(random, free);
  if (random() < (crowded ? 0.2 : 0.05)) return close(choosing, box);
  return onBox(choosing, box);
}

function onBox(choosing: Choosing, box: ModelBox): Operation | null {
  const { random } = choosing;
  const always = [write, write, read, rename, remove, snapshot, fork, renew];
  if (box.state === 'paused') return pick(random, [...always, resume, resume, resume])(choosing, box);
  if (box.background !== null && random() < 0.3) return followBackground(choosing, box);
  return pick(random, [...always, execWrite, execWrite, execRead, execRead, execFails, execTimesOut, execPrints, execCut, execStdin, execBackground, pause, restore])(choosing, box);
}

function creation(choosing: Choosing, taken: ReadonlySet<string>): Operation | null {
  const { model, random, connection, levels, number } = choosing;
  const labels = { op: String(number) };
  const level = random() < 0.75 ? 'container' : pick(random, levels);
  const draw = random();
  const made = (name: string, subject: string, options: Parameters<typeof Sandbox.create>[0] & object, { contents, workspace, sizeBytes }: Pick<ModelBox, 'contents' | 'workspace' | 'sizeBytes'>): Operation => ({
    name,
    subject,
    async act() {
      const sandbox = await Sandbox.create({ ...options, labels, level, ttlMs: 7_200_000, keepAlive: true }, { connection });
      return () => {
        if (workspace !== null) model.named.delete(workspace);
        model.boxes.set(sandbox.id, { sandbox, level, workspace, sizeBytes, contents, state: 'running', background: null, restored: false });
      };
    },
    cut: () => ({ box: { level, workspace, sizeBytes, contents } }),
  });
  const small = { limits: { workspaceBytes: SMALL_BYTES } };
  if (draw < 0.3) return made('create warm', labels.op, {}, { contents: EMPTY, workspace: null, sizeBytes: 0 });
  if (draw < 0.5) return made('create cold', labels.op, small, { contents: EMPTY, workspace: null, sizeBytes: SMALL_BYTES });
  if (draw < 0.65 && model.snapshots.size > 0) {
    const [from, { contents, sizeBytes }] = pick(random, [...model.snapshots]);
    return taken.has(from) ? null : made('create from snapshot', labels.op, { from }, { contents, workspace: null, sizeBytes });
  }
  const held = [...model.boxes.values()].flatMap(({ workspace }) => workspace ?? []);
  if (draw < 0.75 && model.named.size + held.length < MOST_NAMED) return made('create named', `named-${number}`, { workspace: `named-${number}`, ...small }, { contents: EMPTY, workspace: `named-${number}`, sizeBytes: SMALL_BYTES });
  const names = [...model.named.keys()].filter((name) => !taken.has(name));
  if (names.length === 0) return null;
  const workspace = pick(random, names);
  return made('reopen named', workspace, { workspace }, { contents: model.named.get(workspace) ?? EMPTY, workspace, sizeBytes: SMALL_BYTES });
}

type OnBox = (choosing: Choosing, box: ModelBox) => Operation | null;

/** An operation that changes no model. */
function plain(name: string, { sandbox }: ModelBox, act: () => Promise<unknown>): Operation {
  return { name, subject: sandbox.id, act: async () => (await act(), () => undefined) };
}

/** An operation that changes files: done, or not done. */
function changing(name: string, box: ModelBox, change: (files: Files) => Files, act: () => Promise<unknown>): Operation {
  const before = box.contents;
  const after = before.map(change);
  return {
    name,
    subject: box.sandbox.id,
    act: async () => (await act(), () => void (box.contents = after)),
    cut() {
      box.contents = union(before, after);
      return {};
    },
  };
}

const only = (contents: Contents): Files => {
  assert.equal(contents.length, 1, 'an operation on content that nobody knows');
  return contents[0] ?? new Map();
};

const write: OnBox = ({ random, number }, box) => {
  const [path, bytes] = [pick(random, PATHS), bytesFor(number, random)];
  return changing('files write', box, (files) => withFile(files, path, digest(bytes)), () => box.sandbox.files.write(path, bytes, { parents: true }));
};

const read: OnBox = ({ random }, box) => {
  const files = [...only(box.contents)];
  if (files.length === 0) return null;
  const [path, sha256] = pick(random, files);
  return plain('files read', box, async () => assert.equal(digest(await box.sandbox.files.readBytes(path)), sha256, `${path} as it is read from outside`));
};

const rename: OnBox = ({ random, number }, box) => {
  const files = [...only(box.contents)];
  if (files.length === 0) return null;
  const [from, sha256] = pick(random, files);
  const to = `moved-${number % 3}`;
  if (from === to) return null;
  return changing('files rename', box, (all) => withFile(withoutFile(all, from), to, sha256), () => box.sandbox.files.move(from, to, { replace: true }));
};

const remove: OnBox = ({ random }, box) => {
  const files = [...only(box.contents)];
  if (files.length === 0) return null;
  const [path] = pick(random, files);
  return changing('files remove', box, (all) => withoutFile(all, path), () => box.sandbox.files.remove(path));
};

const snapshot: OnBox = ({ model, number }, box) => {
  const kept = { contents: box.contents, sizeBytes: box.sizeBytes };
  return {
    name: 'snapshot',
    subject: box.sandbox.id,
    async act() {
      const { id } = await box.sandbox.snapshot({ label: String(number) });
      return () => void model.snapshots.set(id, kept);
    },
    cut: () => ({ snapshot: kept }),
  };
};

const fork: OnBox = ({ model, number, mostBoxes }, box) => {
  if (model.boxes.size >= mostBoxes) return null;
  const { level, contents, sizeBytes } = box;
  const facts = { level, contents, sizeBytes, workspace: null };
  return {
    name: 'fork',
    subject: box.sandbox.id,
    async act() {
      const sandbox = await box.sandbox.fork({ labels: { op: String(number) }, ttlMs: 7_200_000, keepAlive: true });
      return () => void model.boxes.set(sandbox.id, { ...facts, sandbox, state: 'running', background: null, restored: false });
    },
    cut: () => ({ box: facts }),
  };
};

const restore: OnBox = ({ model, random }, box) => {
  const fitting = [...model.snapshots].filter(([, { sizeBytes }]) => sizeBytes === box.sizeBytes);
  if (fitting.length === 0) return null;
  const [id, { contents }] = pick(random, fitting);
  const before = box.contents;
  return {
    name: 'restore',
    subject: box.sandbox.id,
    async act() {
      await box.sandbox.restore(id);
      return () => void Object.assign(box, { contents, state: 'running', background: null, restored: true });
    },
    cut() {
      Object.assign(box, { contents: union(before, contents), background: null, restored: true });
      return { mayEnd: box.sandbox.id };
    },
  };
};

const renew: OnBox = (_, box) => plain('renew', box, async () => assert.equal((await box.sandbox.renew({ ttlMs: 7_200_000 })).state, box.state));

const pause: OnBox = (_, box) => ({ name: 'pause', subject: box.sandbox.id, act: async () => (await box.sandbox.pause(), () => void (box.state = 'paused')) });

const resume: OnBox = (_, box) => ({ name: 'resume', subject: box.sandbox.id, act: async () => (await box.sandbox.resume(), () => void (box.state = 'running')) });

const close: OnBox = ({ model }, box) => ({
  name: 'close',
  subject: box.sandbox.id,
  async act() {
    await box.sandbox.close();
    assert.equal((await box.sandbox.info()).state, 'closed');
    return () => {
      model.boxes.delete(box.sandbox.id);
      if (box.workspace !== null) model.named.set(box.workspace, box.contents);
    };
  },
  cut: () => ({ mayEnd: box.sandbox.id }),
});

function removeSnapshot({ model, random, connection }: Choosing, taken: ReadonlySet<string>): Operation | null {
  const ids = [...model.snapshots.keys()].filter((id) => !taken.has(id));
  const id = pick(random, ids);
  return {
    name: 'remove snapshot',
    subject: id,
    async act() {
      await removeById(connection, id);
      return () => void model.snapshots.delete(id);
    },
    cut: () => ({ mayVanish: id }),
  };
}

async function removeById({ socket }: ConnectionOptions, id: string): Promise<void> {
  const { request } = await import('node:http');
  const status = await new Promise<number>((done, reject) => {
    request({ socketPath: socket, method: 'DELETE', path: `/v1/snapshots/${id}` }, (answer) => void answer.resume().once('end', () => done(answer.statusCode ?? 0))).once('error', reject).end();
  });
  assert.ok(status === 204 || status === 404, `removing a snapshot: ${status}`);
}

const execWrite: OnBox = ({ random, number }, box) => {
  const [path, bytes] = [pick(random, PATHS), bytesFor(number, random)];
  // Through another name, as a careful program does: a kill in the middle leaves the file as it was.
  const script = 'mkdir -p deep; cat > "$NEW" && mv "$NEW" "$FILE" && sha256sum < "$FILE"';
  return changing('exec write', box, (files) => withFile(files, path, digest(bytes)), async () => {
    const { stdout, reason } = await box.sandbox.sh(script, { env: { FILE: path, NEW: `/workspace/.new` }, stdin: bytes });
    assert.equal(stdout.slice(0, 64), digest(bytes), reason);
  });
};

const execRead: OnBox = ({ random }, box) => {
  const files = [...only(box.contents)];
  if (files.length === 0) return null;
  const [path, sha256] = pick(random, files);
  return plain('exec read', box, async () => assert.equal(digest((await box.sandbox.exec(['cat', path])).stdoutBytes), sha256, `${path} as it is read from inside`));
};

const execFails: OnBox = ({ random }, box) => {
  const code = 1 + Math.floor(random() * 120);
  return plain('exec fails', box, async () => {
    const { exit, reason } = await box.sandbox.sh(`exit ${code}`);
    assert.equal(exit, code, reason);
  });
};

const execTimesOut: OnBox = (_, box) => plain('exec times out', box, async () => assert.equal((await box.sandbox.sh('sleep 60 & sleep 60', { timeoutMs: 150 })).ending.kind, 'timed-out'));

const execPrints: OnBox = ({ random }, box) => {
  const count = 1 + Math.floor(random() * 1_000_000);
  return plain('exec prints', box, async () => {
    const { stdoutBytes } = await box.sandbox.sh(`head -c ${count} /dev/zero | tr '\\0' x`);
    assert.equal(digest(stdoutBytes), digest(Buffer.alloc(count, 'x')));
  });
};

const numbers = (last: number): string => Array.from({ length: last }, (_, at) => `${at + 1}\n`).join('');

async function restOf(process: Process, from: number): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const { bytes } of process.output({ from })) chunks.push(bytes);
  return Buffer.concat(chunks).toString();
}

/** A reader goes away in the middle, and another goes on where it was. */
const execCut: OnBox = ({ random }, box) => {
  const most = Math.floor(random() * 100_000);
  return plain('exec cut and followed', box, async () => {
    const process = await box.sandbox.spawn(['sh', '-c', 'seq 1 10000; sleep 0.05; seq 10001 20000']);
    const first: Uint8Array[] = [];
    let seen = 0;
    for await (const { bytes } of process.output()) {
      first.push(bytes);
      seen += bytes.byteLength;
      if (seen > most) break;
    }
    const again = await box.sandbox.attach(process.id);
    assert.equal(digest(Buffer.concat(first).toString() + (await restOf(again, seen))), digest(numbers(20_000)));
  });
};

const execStdin: OnBox = ({ random, number }, box) => {
  const bytes = bytesFor(number, random);
  return plain('exec stdin', box, async () => {
    const { stdoutBytes, reason } = await box.sandbox.exec(['cat'], { stdin: bytes });
    assert.equal(digest(stdoutBytes), digest(bytes), `${stdoutBytes.byteLength} of ${bytes.byteLength} bytes came back; ${reason}`);
  });
};

const execBackground: OnBox = ({ number }, box) => ({
  name: 'exec background',
  subject: box.sandbox.id,
  async act() {
    const process = await box.sandbox.spawn(['sh', '-c', `i=0; while [ $i -lt 10 ]; do echo ${number} $i; i=$((i + 1)); sleep 0.2; done`]);
    return () => void (box.background = { process, expected: Array.from({ length: 10 }, (_, at) => `${number} ${at}\n`).join('') });
  },
});

const followBackground: OnBox = ({ random }, box) => {
  const { background } = box;
  if (background === null) return null;
  const from = Math.floor(random() * background.expected.length);
  return {
    name: 'follow background',
    subject: box.sandbox.id,
    async act() {
      assert.equal(await restOf(background.process, from), background.expected.slice(from));
      return () => void (box.background = null);
    },
  };
};
