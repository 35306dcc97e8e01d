import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Entry, Json } from '@caisson/contract';
import { emptyState, foldAll, stateBytes, type State } from '@caisson/projection';
import { beat, callIntent, denied, ended, execIntent, sandboxIntent, writing, type Writing } from './given.ts';

function after(write: (made: Writing) => void): State {
  const made = writing();
  write(made);
  return foldAll(emptyState(), made.entries);
}

const SANDBOX = 'sbx-0000000000000001';
const EXEC = 'exe-0000000000000001';

test('calls, denials, failures and unknown ends are counted for who called', () => {
  const { agents, totals } = after(({ add }) => {
    add('intent', 'sbx-a', callIntent('build'));
    add('outcome', 'sbx-a', ended('exited', { code: 0 }));
    add('intent', 'sbx-b', callIntent('build', denied));
    add('outcome', 'sbx-b', ended('refused', { code: 'LIMIT_EXCEEDS_POLICY', detail: 'too much' }));
    add('intent', 'sbx-c', callIntent('build'));
    add('outcome', 'sbx-c', ended('unknown', { detail: 'Caisson stopped' }));
    add('intent', 'sbx-d', callIntent('other'));
  });
  const { calls, denials, failures, unknown, failed } = agents.get('build') ?? assert.fail();
  assert.deepEqual({ calls, denials, failures, unknown }, { calls: 3, denials: 1, failures: 1, unknown: 1 });
  assert.deepEqual(failed.map(({ subject, ending, detail }) => [subject, ending, detail]), [['sbx-b', 'refused', 'too much'], ['sbx-c', 'unknown', 'Caisson stopped']]);
  assert.equal(agents.get('other')?.calls, 1);
  assert.deepEqual([totals.ended, totals.unknown], [3, 1]);
});

test('a sandbox goes by the table of its life, and what implies a start has started it', () => {
  const steps: readonly (readonly [string, (made: Writing) => void])[] = [
    ['creating', ({ add }) => add('intent', SANDBOX, sandboxIntent('a'))],
    ['running', ({ add }) => add('intent', EXEC, execIntent('a', SANDBOX))],
    ['paused', ({ add }) => add('lifecycle', SANDBOX, { event: 'pause', caller: 'a' })],
    ['running', ({ add }) => add('lifecycle', SANDBOX, { event: 'resume', caller: 'a' })],
    ['restoring', ({ add }) => add('lifecycle', SANDBOX, { event: 'restore', caller: 'a', layer: 'lay-1' })],
    ['running', ({ add }) => add('lifecycle', SANDBOX, { event: 'files', caller: 'a' })],
  ];
  const made = writing();
  for (const [state, step] of steps) {
    step(made);
    assert.equal(foldAll(emptyState(), made.entries).sandboxes.get(SANDBOX)?.state, state);
  }
  made.add('outcome', SANDBOX, ended('closed', { detail: 'closed by a' }));
  const last = foldAll(emptyState(), made.entries);
  assert.equal(last.sandboxes.size, 0);
  assert.deepEqual([...last.open.keys()], [EXEC]);
  assert.deepEqual(last.misfits, []);
});

test('an exec in a sandbox whose pause was recorded and failed says that it runs', () => {
  const { sandboxes, misfits } = after(({ add }) => {
    add('intent', SANDBOX, sandboxIntent('a'));
    add('lifecycle', SANDBOX, { event: 'pause', caller: 'a' });
    add('intent', EXEC, execIntent('a', SANDBOX));
  });
  assert.equal(sandboxes.get(SANDBOX)?.state, 'running');
  assert.deepEqual(misfits, []);
});

test('network rules, leases, snapshots and held attempts are those of the last entry that says so', () => {
  const made = writing();
  made.add('intent', SANDBOX, sandboxIntent('a', { network: ['a.example:443'], secrets: ['github', 'npm'] }));
  made.add('egress', SANDBOX, { event: 'held', approval: 'apr-1', what: 'connection', host: 'b.example', port: 443, expiresMs: Number.MAX_SAFE_INTEGER });
  made.add('lifecycle', SANDBOX, { event: 'network', caller: 'a', rules: ['b.example:443'] });
  made.add('lifecycle', SANDBOX, { event: 'secret-revoked', caller: 'a', secret: 'npm' });
  made.add('lifecycle', SANDBOX, { event: 'snapshot', caller: 'a', layer: 'lay-1', memory: false });
  made.add('egress', SANDBOX, { event: 'request', connection: 1, host: 'a.example', port: 443, method: 'GET', path: '/', secrets: [{ secret: 'github', lease: 'l' }] });
  made.add('lifecycle', 'secret github', { event: 'secret-rotated', caller: 'operator' });
  const state = foldAll(emptyState(), made.entries);
  assert.deepEqual(state.sandboxes.get(SANDBOX)?.network, ['b.example:443']);
  assert.deepEqual(state.sandboxes.get(SANDBOX)?.secrets, ['github']);
  assert.deepEqual(state.secrets.get('github'), { id: 'github', leases: 1, uses: 1, rotations: 1, revocations: 0 });
  assert.deepEqual([...state.held.keys(), ...state.snapshots.keys()], ['apr-1', 'lay-1']);
  made.add('lifecycle', SANDBOX, { event: 'approval', caller: 'operator', approval: 'apr-1', decision: 'deny' });
  made.add('lifecycle', 'lay-1', { event: 'remove-snapshot', caller: 'operator' });
  const later = foldAll(emptyState(), made.entries);
  assert.deepEqual([later.held.size, later.snapshots.size], [0, 0]);
});

test('bytes at the gate are counted once, whether a connection told them or the sums at the end', () => {
  const { agents } = after(({ add }) => {
    add('intent', SANDBOX, sandboxIntent('a', { network: [] }));
    add('egress', SANDBOX, { event: 'connect', connection: 1, host: 'a.example', port: 443 });
    add('egress', SANDBOX, { event: 'closed', connection: 1, bytesOut: 10, bytesIn: 20, cut: null });
    add('egress', SANDBOX, { event: 'refused', what: 'name', to: 'b.example', rule: null, reason: 'no rule' });
    add('egress', SANDBOX, { event: 'refused-again', again: [{ what: 'name', to: 'b.example', more: 4 }], others: 2 });
    add('egress', SANDBOX, { event: 'dismissed', connections: 2, bytesOut: 15, bytesIn: 20, refused: 7 });
    add('outcome', SANDBOX, ended('closed'));
  });
  const { bytesOut, bytesIn, refused, connections } = agents.get('a') ?? assert.fail();
  assert.deepEqual({ bytesOut, bytesIn, refused, connections }, { bytesOut: 15, bytesIn: 20, refused: 7, connections: 1 });
});

test('a body that is not known is counted as unread and changes nothing else', () => {
  const bodies: readonly Json[] = [null, 'text', [], {}, { what: 'universe' }, { event: 'unheard-of', caller: 'a' }, { ending: 'exited' }];
  const { unread, agents, sandboxes, open } = after(({ add }) => {
    for (const kind of ['intent', 'outcome', 'lifecycle', 'egress', 'alert'] as const) for (const body of bodies) add(kind, 'x', body);
  });
  assert.equal(unread, 5 * bodies.length);
  assert.deepEqual([agents.size, sandboxes.size, open.size], [0, 0, 0]);
});

test('what does not follow from what came before is told and does not stop the fold', () => {
  const { misfits, totals } = after(({ add }) => {
    add('outcome', 'sbx-none', ended('exited'));
    add('egress', 'sbx-none2', { event: 'refused', what: 'name', to: 'x', rule: null, reason: 'r' });
    add('intent', EXEC, execIntent('a', 'sbx-none3'));
    add('intent', EXEC, execIntent('a', 'sbx-none3'));
    add('lifecycle', 'sbx-none4', { event: 'pause', caller: 'a' });
  });
  assert.equal(totals.misfits, 5);
  assert.deepEqual(misfits.map(({ index }) => index), [0, 1, 2, 3, 4]);
});

test('a number that is missing in what a source reports is a hole until it comes, and one that comes twice is told', () => {
  const run = 'f'.repeat(32);
  const at = (seq: number): Partial<Entry> => ({ origin: { run, seq } });
  const { runs } = after(({ add }) => {
    for (const seq of [1, 2, 5, 4, 9, 9]) add('heartbeat', 'gate', beat(0), at(seq));
  });
  const { highest, gaps, again } = runs.get(run) ?? assert.fail();
  assert.deepEqual({ highest, gaps, again }, { highest: 9, gaps: [[3, 3], [6, 8]], again: 1 });
});

test('a clock that goes back is told', () => {
  const { clock } = after(({ add }) => {
    add('heartbeat', 'x', beat(0), { timeMs: 500 });
    add('heartbeat', 'x', beat(0), { timeMs: 499 });
    add('heartbeat', 'x', beat(0), { timeMs: 600 });
  });
  assert.deepEqual(clock, { highestMs: 600, backwards: 1 });
});

test('a state does not grow with what has ended', () => {
  const sizes = [4_000, 8_000].map((calls) => stateBytes(after(({ add }) => {
    for (let call = 0; call < calls; call++) {
      const subject = `sbx-${String(call).padStart(8, '0')}`;
      add('intent', subject, callIntent('a'));
      add('outcome', subject, ended('failed', { detail: 'no' }));
      add('lifecycle', `${subject}p`, { event: 'prepare', level: 'container' });
    }
  })).length);
  assert.ok(Math.abs((sizes[1] ?? 0) - (sizes[0] ?? 0)) < 64, String(sizes));
});

test('an entry that is not the next is refused', () => {
  const { add, entries } = writing();
  add('heartbeat', 'x', beat(0));
  add('heartbeat', 'x', beat(0));
  assert.throws(() => foldAll(emptyState(), entries.slice(1)), RangeError);
  assert.throws(() => foldAll(emptyState(), [entries[0] ?? assert.fail(), entries[0] ?? assert.fail()]), RangeError);
});
