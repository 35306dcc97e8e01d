import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import fc from 'fast-check';
import { detachKeys, replay } from '@caisson/cli';
import { IS_ROOT, NEEDS_ROOT, startCaisson, type Caisson } from '../harness.ts';
import { cli, endOf, startCli } from './given.ts';
import { PersonsTerminal } from './terminal.ts';

/** A full-screen program: a frame along the edges, its size, and what was typed. */
const FRAMED = `
import curses
def main(screen):
  typed = ''
  while True:
    rows, cols = screen.getmaxyx()
    screen.erase()
    screen.border()
    screen.addstr(1, 2, f'{cols} by {rows}')
    screen.addstr(2, 2, 'typed ' + typed)
    screen.refresh()
    key = screen.get_wch()
    if key == 'q': return
    if key == curses.KEY_RESIZE: curses.update_lines_cols()
    elif key == curses.KEY_UP: typed += '<up>'
    elif isinstance(key, str): typed += key if key.isprintable() else f'<{ord(key)}>'
curses.wrapper(main)
`;

function isFramed(lines: readonly string[], cols: number, rows: number, typed: string): boolean {
  return lines.length === rows
    && lines[0] === `┌${'─'.repeat(cols - 2)}┐`
    && lines[rows - 1] === `└${'─'.repeat(cols - 2)}┘`
    && lines[1] === `│ ${`${cols} by ${rows}`.padEnd(cols - 3)}│`
    && lines[2] === `│ ${`typed ${typed}`.padEnd(cols - 3)}│`
    && lines.slice(3, -1).every((line) => line === `│${' '.repeat(cols - 2)}│`);
}

describe('attach is a terminal', { skip: IS_ROOT ? false : NEEDS_ROOT }, () => {
  let caisson: Caisson;
  let id = '';
  before(async () => {
    caisson = await startCaisson();
    id = (await cli(caisson.env, ['create', '--timeout', '5m', '--env', 'LC_ALL=C.UTF-8'])).stdout.toString().trim();
  });
  after(() => caisson[Symbol.asyncDispose]());

  test('a full-screen program is drawn, typed at, resized, left with Ctrl-P Ctrl-Q and come back to', async () => {
    await using first = new PersonsTerminal(caisson.env, ['attach', id, '--', 'python3', '-c', FRAMED], { cols: 60, rows: 15 });
    await first.until((lines) => isFramed(lines, 60, 15, ''), 'the frame');
    first.type('aé\u001bOA\u0010x');
    await first.until((lines) => isFramed(lines, 60, 15, 'aé<up><16>x'), 'what was typed');
    first.resize(83, 21);
    await first.until((lines) => isFramed(lines, 83, 21, 'aé<up><16>x'), 'the new size');
    assert.match(await first.settings(), / -opost .* -icanon /, 'the terminal is raw in both directions');
    first.type('\u0010\u0011');
    const left = await first.end();
    assert.deepEqual([left.status, left.after], [0, left.before.replace('rows 15', 'rows 21').replace('columns 60', 'columns 83')]);
    assert.match(first.lines().join('\n'), /left exe-[0-9a-z]{16} running/);

    await using second = new PersonsTerminal(caisson.env, ['attach', id], { cols: 70, rows: 18 });
    await second.until((lines) => isFramed(lines, 70, 18, 'aé<up><16>x'), 'the same program, in this size');
    second.type('q');
    const over = await second.end();
    assert.deepEqual([over.status, over.after], [0, over.before]);
  });

  test('the settings of the terminal are put back when the command ends, fails, or attach is killed', async () => {
    const cases: readonly (readonly [string, number | null, number])[] = [['exit 3', null, 3], ['kill -9 $$', null, 137], ['sleep 60', 15, 143], ['sleep 60', 1, 129], ['sleep 60', 2, 130]];
    for (const [script, signal, status] of cases) {
      await using terminal = new PersonsTerminal(caisson.env, ['exec', '-it', id, '--', 'sh', '-c', `echo here; read x; ${script}`], { cols: 80, rows: 24 });
      await terminal.until((lines) => lines[0] === 'here', `what ${script} says`);
      assert.match(await terminal.settings(), /-echo /);
      if (signal === null) terminal.type('\r');
      else terminal.signal(signal);
      const end = await terminal.end();
      assert.deepEqual([end.status, end.after], [status, end.before], script);
    }
  });

  test('Ctrl-C is a key of the command, not the end of attach', async () => {
    await using terminal = new PersonsTerminal(caisson.env, ['exec', '-it', id, '--', 'sh', '-c', 'trap "echo caught; exit 9" INT; echo here; while :; do sleep 0.1; done'], { cols: 80, rows: 24 });
    await terminal.until((lines) => lines[0] === 'here', 'the program');
    terminal.type('\u0003');
    const { status } = await terminal.end();
    assert.equal(status, 9);
  });

  test('Ctrl-P Ctrl-Q leaves a program that takes nothing of what is typed', { timeout: 60_000 }, async () => {
    const fresh = (await cli(caisson.env, ['create'])).stdout.toString().trim();
    await using terminal = new PersonsTerminal(caisson.env, ['attach', fresh, '--', 'sh', '-c', 'stty raw -echo; echo here; sleep 300'], { cols: 80, rows: 24 });
    await terminal.until((lines) => lines[0] === 'here', 'the program');
    terminal.type('x'.repeat(400_000));
    terminal.type('\u0010\u0011');
    const { status, before: was, after: is } = await terminal.end();
    assert.deepEqual([status, is], [0, was]);
    assert.match(terminal.lines().join('\n'), /left exe-[0-9a-z]{16} running/);
  });

  test('attach without a command is a shell', async () => {
    const fresh = (await cli(caisson.env, ['create'])).stdout.toString().trim();
    await using terminal = new PersonsTerminal(caisson.env, ['attach', fresh], { cols: 80, rows: 24 });
    await terminal.until((lines) => lines.some((line) => /[$#] ?$/.test(line)), 'a prompt');
    terminal.type('echo $((6*7)); exit 4\r');
    await terminal.until((lines) => lines.includes('42'), 'the answer');
    assert.equal((await terminal.end()).status, 4);
  });

  test('coming back types nothing: what a program asked the terminal is not asked again', async () => {
    const fresh = (await cli(caisson.env, ['create'])).stdout.toString().trim();
    await using first = new PersonsTerminal(caisson.env, ['attach', fresh, '--', 'sh', '-c', 'stty -echo; printf "\\033[6n\\033[>c\\033[c"; sleep 1; stty echo; echo asked; PS1="ready " exec sh'], { cols: 80, rows: 24 });
    await first.until((lines) => lines.includes('asked'), 'the queries');
    await first.until((lines) => lines.some((line) => line.startsWith('ready')), 'a prompt'); // before it Ctrl-C ends the shell
    first.type('\u0003\rclear; echo he""re\r');
    await first.until((lines) => lines.includes('here'), 'a shell');
    first.type('\u0010\u0011');
    assert.equal((await first.end()).status, 0);

    await using second = new PersonsTerminal(caisson.env, ['attach', fresh], { cols: 80, rows: 24 });
    await second.until((lines) => lines.includes('here'), 'what was there');
    await delay(1_000); // nobody types at once what is answered at once
    second.type('printf "<%s>" "$(echo fi""ne)"; printf "\\033[6n"; read x; exit 7\r');
    await second.until((lines) => lines.some((line) => line.startsWith('<fine>')), 'a command of its own, and nothing before it');
    await second.until((lines) => lines.some((line) => /<fine>.*\^\[\[\d+;\d+R/.test(line)), 'the answer to a query that is new');
    second.type('\r');
    assert.equal((await second.end()).status, 7);
  });

  test('a note comes after the terminal is as it was, at the beginning of a line', async () => {
    const fresh = (await cli(caisson.env, ['create', '--timeout', '5s', '--output-limit', '1Ki'])).stdout.toString().trim();
    await using terminal = new PersonsTerminal(caisson.env, ['attach', fresh, '--', 'sh', '-c', 'head -c 2000 /dev/zero | tr "\\0" x; sleep 60'], { cols: 120, rows: 24 });
    assert.equal((await terminal.end()).status, 124);
    const lines = await terminal.until((found) => found.some((line) => line.includes('was used up')), 'why it ended');
    assert.ok(lines.some((line) => line.includes('stdout was cut')), lines.join('\n'));
    assert.ok(lines.some((line) => line.startsWith('caisson: the command was killed')), lines.join('\n'));
  });

  test('SIGTERM ends an attach that has no terminal, and not its command', async () => {
    const exec = (await cli(caisson.env, ['exec', '-d', '-t', id, '--', 'sh', '-c', 'trap "" TERM; echo here; sleep 60'])).stdout.toString().trim();
    const attached = startCli(caisson.env, ['attach', id, exec]);
    const end = endOf(attached);
    attached.stdin?.end();
    await new Promise<void>((done) => attached.stdout?.on('data', (chunk: Buffer) => chunk.includes('here') && done()));
    attached.kill('SIGTERM');
    const { status, stderr } = await end;
    assert.equal(status, 143, stderr);
    assert.match(stderr, new RegExp(`left ${exec} running`));
    assert.match((await cli(caisson.env, ['ls'])).stdout.toString(), new RegExp(exec));
  });
});

test('what was asked before is not asked again, in whatever pieces it comes, and what is new is shown as it is', async () => {
  const asked = ['\u001b[6n', '\u001b[?6n', '\u001b[c', '\u001b[>c', '\u001b[>0q', '\u001b[?u', '\u001b[14t', '\u001b[?2026$p', '\u001b]10;?\u0007', '\u001b]4;1;?\u001b\\', '\u001bP+q544e\u001b\\', '\u001bP$qm\u001b\\', '\u0005'];
  const said = ['a', 'é', '\u001b[31m', '\u001b]0;title\u0007', '\u001b[2 q', '\u001b[22;0t', '\u001b[!p', '\u001bc', '\u001b(B', '\u001b[?1049h', '\n'];
  const word = fc.oneof(...[asked, said].map((from) => fc.constantFrom(...from).map((text) => ({ text, isQuery: from === asked }))));
  await fc.assert(fc.asyncProperty(fc.array(word, { maxLength: 20 }), fc.array(fc.nat(60)), async (words, cuts) => {
    let nowMs = 0;
    const shown: Uint8Array[] = [];
    const screen = replay(async (bytes) => void shown.push(bytes), () => nowMs);
    const all = Buffer.from(words.map(({ text }) => text).join(''));
    const ends = [...cuts.map((cut) => Math.min(cut, all.length)).toSorted((a, b) => a - b), all.length];
    let at = 0;
    for (const end of ends) {
      await screen.show(all.subarray(at, end));
      at = end;
    }
    nowMs += 1_000;
    await screen.show(Buffer.from(asked[0] ?? ''));
    await screen.end();
    assert.equal(Buffer.concat(shown).toString(), words.filter(({ isQuery }) => !isQuery).map(({ text }) => text).join('') + (asked[0] ?? ''));
  }));
});

test('whatever is typed, in whatever pieces, goes on whole up to the detach keys', () => {
  const piece = fc.array(fc.constantFrom(0x10, 0x11, 0x61), { maxLength: 6 }).map((bytes) => Buffer.from(bytes));
  fc.assert(fc.property(fc.array(piece, { maxLength: 8 }), (pieces) => {
    const keys = detachKeys();
    const all = Buffer.concat(pieces);
    const at = all.indexOf(Buffer.of(0x10, 0x11));
    const passed: Buffer[] = [];
    let detached = false;
    for (const each of pieces) {
      if (detached) break;
      const found = keys(each);
      passed.push(found.bytes);
      ({ detached } = found);
    }
    const expected = at === -1 ? all : all.subarray(0, at);
    const held = at === -1 && all.at(-1) === 0x10 ? 1 : 0;
    assert.equal(detached, at !== -1);
    assert.deepEqual(Buffer.concat(passed), expected.subarray(0, expected.length - held));
  }));
});
