import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import fc from 'fast-check';
import { MIRROR_BYTES, type Entry } from '@caisson/contract';
import { Mirrors } from '@caisson/daemon';
import { auditView } from '@caisson/projection';

const BOXES = ['sbx-aaaaaaaaaaaaaaaa', 'sbx-bbbbbbbbbbbbbbbb', 'sbx-cccccccccccccccc'] as const;
const DECISION = { effect: 'allow', rule: 'r', reason: 'so it is' } as const;

/** What the log has of a sandbox: an exec in it, a call that it is, or something that is neither. */
function entryOf(index: number, box: string, what: 'exec' | 'call' | 'other', program = 'true'): Entry {
  const common = { caller: 'test', program, request: 'a'.repeat(64), decision: DECISION };
  const body = {
    exec: { what: 'exec', sandbox: box, ...common },
    call: { ...common, level: 'container', policy: 'p', network: null, secrets: [] },
    other: { event: 'pause', caller: 'test' },
  }[what];
  return { index, timeMs: 1_700_000_000_000 + index, kind: what === 'other' ? 'lifecycle' : 'intent', source: 'control', subject: what === 'exec' ? `exe-${String(index).padStart(16, '0')}` : box, body };
}

interface Ground extends Disposable {
  readonly folder: string;
  begin(box: string, from: number): void;
  read(box: string): string;
}

/** As the launcher makes it. */
function ground(): Ground {
  const folder = mkdtempSync(`${tmpdir()}/caisson-mirrors-`);
  return {
    folder,
    begin(box, from) {
      mkdirSync(`${folder}/${box}`);
      writeFileSync(`${folder}/${box}/audit.jsonl`, '');
      writeFileSync(`${folder}/${box}/of.json`, JSON.stringify({ sandbox: box, from }));
    },
    read: (box) => readFileSync(`${folder}/${box}/audit.jsonl`, 'utf8'),
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  };
}

const quiet = { onTrouble: () => undefined, onLook: () => undefined };

const aLog = fc.array(fc.tuple(fc.constantFrom(...BOXES), fc.constantFrom('exec', 'call', 'other')), { maxLength: 40 })
  .map((made) => made.map(([box, what], index) => entryOf(index, box, what)));
/** One look: how much is published by then, after how many entries the reading breaks off, whether the writer is another one. */
const looks = fc.array(fc.record({ upTo: fc.nat(40), breaksAfter: fc.option(fc.nat(40)), isAnother: fc.boolean() }), { maxLength: 12 });

test('whatever was published when, whatever broke off and whoever began anew, a mirror has the records of its own from its start on, in order and once', async () => {
  await fc.assert(fc.asyncProperty(aLog, looks, fc.array(fc.nat(40), { minLength: 3, maxLength: 3 }), async (log, steps, starts) => {
    using at = ground();
    BOXES.forEach((box, n) => at.begin(box, starts[n] ?? 0));
    let published = 0;
    let breaksAfter: number | null = null;
    const read = async function* (from: number): AsyncGenerator<{ readonly entry: Entry }> {
      for (const [count, entry] of log.slice(from, published).entries()) {
        if (count === breaksAfter) throw new Error('it broke off');
        yield { entry };
      }
    };
    const opened = (): Mirrors => new Mirrors({ folder: at.folder, read, ...quiet });
    let mirrors = opened();
    try {
      for (const step of [...steps, { upTo: log.length, breaksAfter: null, isAnother: false }]) {
        if (step.isAnother) {
          await mirrors[Symbol.asyncDispose]();
          mirrors = opened();
        }
        published = Math.max(published, step.upTo);
        ({ breaksAfter } = step);
        await mirrors.look().catch((error: unknown) => assert.match(String(error), /it broke off/));
      }
    } finally {
      await mirrors[Symbol.asyncDispose]();
    }
    BOXES.forEach((box, n) => {
      const own = log.slice(starts[n]).filter(({ kind, subject, body }) => kind === 'intent' && (subject === box || (body as { readonly sandbox?: string }).sandbox === box));
      assert.equal(at.read(box), own.map((entry) => `${JSON.stringify(auditView(entry))}\n`).join(''));
    });
  }), { numRuns: 150 });
});

test('a mirror ends below 4 MiB with a line that says so, and another goes on', async () => {
  using at = ground();
  const [full, other] = BOXES;
  at.begin(full, 0);
  const log = Array.from({ length: 24_000 }, (_, index) => entryOf(index, full, 'exec'));
  const last = entryOf(log.length, other, 'exec');
  at.begin(other, 0);
  await using mirrors = new Mirrors({
    folder: at.folder,
    read: async function* (from) {
      for (const entry of [...log, last].slice(from)) yield { entry };
    },
    ...quiet,
  });
  await mirrors.look();
  await mirrors.look();
  const text = at.read(full);
  assert.ok(text.length <= MIRROR_BYTES && text.length > MIRROR_BYTES - 1_024, `${text.length} bytes`);
  const lines = text.trimEnd().split('\n').map((line) => JSON.parse(line) as { readonly event?: string; readonly sandbox_job?: string });
  assert.equal(lines.at(-1)?.event, 'AUDIT_MIRROR_FULL');
  assert.ok(lines.slice(0, -1).every(({ event, sandbox_job: of }) => event === undefined && of === full));
  assert.equal(at.read(other), `${JSON.stringify(auditView(last))}\n`);
});
