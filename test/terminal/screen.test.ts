import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { suite, test } from 'node:test';
import { hideUnifiedCgroup, type Machine } from '@caisson/runtime';
import { againInOwnMounts, IS_ROOT, needsOwnMounts, openGround, readHost, specFor } from '../drivers/given.ts';
import { soon } from '../drivers/terminals.ts';
import { Screen } from './given.ts';

/** A full-screen program: a frame along the edges, its size in the middle, and what was typed. */
const FRAMED = `
import curses
def main(screen):
  curses.curs_set(1)
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
    elif isinstance(key, str): typed += key
curses.wrapper(main)
`;

function assertFramed(lines: readonly string[], cols: number, rows: number, typed: string): void {
  assert.equal(lines.length, rows);
  assert.match(lines[0] ?? '', new RegExp(`^┌─{${cols - 2}}┐$`));
  assert.match(lines[rows - 1] ?? '', new RegExp(`^└─{${cols - 2}}┘$`));
  assert.equal(lines[1], `│ ${`${cols} by ${rows}`.padEnd(cols - 3)}│`);
  assert.equal(lines[2], `│ ${`typed ${typed}`.padEnd(cols - 3)}│`);
  for (const line of lines.slice(3, -1)) assert.equal(line, `│${' '.repeat(cols - 2)}│`);
}

async function withMachine(name: string, use: (machine: Machine) => Promise<void>): Promise<void> {
  await using ground = await openGround(name);
  const machine = await ground.driver.launch(specFor(ground.host, { pids: 100 }, 'host', true), { signal: new AbortController().signal });
  try {
    await use(machine);
  } finally {
    await machine.close();
    await ground.driver.settled();
  }
}

if (needsOwnMounts()) againInOwnMounts(import.meta.filename);
else if (!IS_ROOT) suite('screens', () => test('are drawn as a terminal would', (t) => t.skip('needs root: cgroups cannot be made without it')));
else {
  await hideUnifiedCgroup();
  const { runtimes } = await readHost();
  for (const name of ['crun', 'runsc']) {
    const skip = runtimes.some((runtime) => runtime.name === name) ? false : `${name} is not installed`;

    test(`under ${name} a full-screen program fills its screen, before and after a resize, and gives it back`, { skip }, () => withMachine(name, async (machine) => {
      const screen = new Screen(machine, ['python3', '-c', FRAMED], { cols: 60, rows: 15 });
      await screen.until((lines) => lines[1]?.includes('60 by 15') === true, 'the frame');
      await screen.type('ab\x1bOA');
      await screen.type('éß');
      assertFramed(await screen.until((lines) => lines[2]?.includes('ß') === true, 'what was typed'), 60, 15, 'ab<up>éß');
      screen.resize({ cols: 90, rows: 24 });
      assertFramed(await screen.until((lines) => lines[1]?.includes('90 by 24') === true && lines[23]?.startsWith('└') === true, 'the larger frame'), 90, 24, 'ab<up>éß');
      screen.resize({ cols: 30, rows: 8 });
      assertFramed(await screen.until((lines) => lines[1]?.includes('30 by 8') === true && lines[7]?.startsWith('└') === true, 'the smaller frame'), 30, 8, 'ab<up>éß');
      await screen.type('q');
      assert.deepEqual((await soon(screen.exec)).end, { kind: 'exited', code: 0 });
      await screen.until((lines) => lines.every((line) => line === ''), 'the screen as it was');
    }));

    const noVim = existsSync('/usr/bin/vim') ? false : 'vim is not installed';
    test(`under ${name} vim edits, redraws at another size, and saves`, { skip: skip || noVim }, () => withMachine(name, async (machine) => {
      const screen = new Screen(machine, ['vim', '-u', 'NONE', '-N', 'note'], { cols: 50, rows: 10 });
      await screen.until((lines) => lines[9]?.includes('note') === true && lines[1] === '~', 'an empty file');
      await screen.type('ihello from inside\rsecond line\x1b');
      await screen.until((lines) => lines[0] === 'hello from inside' && lines[1] === 'second line', 'the text');
      await screen.until(() => screen.cursor.col === 10, 'the end of inserting');
      screen.resize({ cols: 40, rows: 20 });
      const lines = await screen.until((now) => now[18] === '~' && now[0] === 'hello from inside', 'more rows');
      assert.deepEqual(lines.slice(0, 3), ['hello from inside', 'second line', '~']);
      assert.deepEqual(screen.cursor, { col: 10, row: 1 });
      await screen.type(':wq\r');
      assert.deepEqual((await soon(screen.exec)).end, { kind: 'exited', code: 0 });
      const saved = new Screen(machine, ['cat', 'note'], { cols: 40, rows: 5 });
      await saved.until((now) => now[0] === 'hello from inside' && now[1] === 'second line' && now[2] === '', 'what was saved');
      await soon(saved.exec);
    }));

    const noTmux = existsSync('/usr/bin/tmux') ? false : 'tmux is not installed';
    test(`under ${name} a terminal multiplexer opens terminals of its own`, { skip: skip || noTmux }, () => withMachine(name, async (machine) => {
      const screen = new Screen(machine, ['tmux', '-f', '/dev/null', '-S', '/tmp/tmux', 'new-session', 'sh'], { cols: 60, rows: 12 });
      await screen.until((lines) => lines[11]?.startsWith('[0]') === true, 'the status line');
      await screen.type('tty; echo pane-$((1 + 0))\r');
      await screen.until((lines) => lines.includes('pane-1'), 'the first pane');
      await screen.type('\x02"');
      await screen.until((lines) => lines.some((line) => line.startsWith('───')), 'a border');
      await screen.type('echo pane-$((1 + 1))\r');
      await screen.until((lines) => lines.includes('pane-1') && lines.includes('pane-2'), 'both panes');
      screen.exec.kill();
      await soon(screen.exec);
    }));
  }
}
