import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, watch, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { after, before, beforeEach, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Refusals, DenialsFile, denialsText } from '@caisson/egress';
import { makeDenialsFolder, removeDenialsFolder } from '@caisson/runtime';
import { noInternet } from './internet/internet.ts';
import { openScene, type Box, type Scene } from './given.ts';

const FILE = '/run/caisson/denials.json';
const WORKS_MS = 20_000;

interface Told {
  readonly total: number;
  readonly denials: readonly { readonly to: string; readonly count: number }[];
  readonly waiting: readonly unknown[];
}

/** Tries names in a loop, by a proxy that refuses them, and reads the file all the while: every reading must be whole. */
const FLOOD = `
import json, socket, time
end, tries, readings, inodes = time.time() + 4, 0, 0, set()
import os
while time.time() < end:
    for _ in range(20):
        with socket.create_connection(("198.18.0.1", 3128), 5) as out:
            out.sendall(f"CONNECT n{tries}.example.test:443 HTTP/1.1\\r\\nHost: n{tries}.example.test\\r\\n\\r\\n".encode()); out.recv(100)
        tries += 1
    with open("${FILE}") as file:
        json.load(file); inodes.add(os.fstat(file.fileno()).st_ino)
    readings += 1
print(tries, readings, len(inodes))
`;

/** What only who may write could do. Prints what went through. */
const WRITING = `
import os
for what, change in {
    "open": lambda: open("${FILE}", "w"), "append": lambda: open("${FILE}", "a"), "create": lambda: open("/run/caisson/x", "w"), "unlink": lambda: os.unlink("${FILE}"),
    "rename": lambda: os.rename("${FILE}", "/run/caisson/y"), "link": lambda: os.link("${FILE}", "/tmp/z"), "chmod": lambda: os.chmod("${FILE}", 0o777), "symlink": lambda: os.symlink("/etc", "/run/caisson/s"),
    "mkdir": lambda: os.mkdir("/run/caisson/d"), "utime": lambda: os.utime("${FILE}"), "truncate": lambda: os.truncate("${FILE}", 0), "rmdir": lambda: os.rmdir("/run/caisson"), "control": lambda: open("/tmp/control", "w"),
}.items():
    try: change(); print(what)
    except OSError: pass
`;

describe('what was refused, as a file in the sandbox', { skip: noInternet(), concurrency: false }, () => {
  let scene: Scene;
  before(async () => (scene = await openScene()));
  after(() => scene[Symbol.asyncDispose]());

  const read = async (box: Box): Promise<Told> => JSON.parse((await box.exec(['cat', FILE])).stdout.toString()) as Told;
  const refuse = (box: Box, host: string): Promise<unknown> => box.exec(['curl', '-sS', '-x', 'http://198.18.0.1:3128', `http://${host}/`]);
  const until = async (box: Box, fits: (told: Told) => boolean): Promise<Told> => {
    for (const untilMs = performance.now() + WORKS_MS; ; await delay(50)) {
      const told = await read(box);
      if (fits(told)) return told;
      assert.ok(performance.now() < untilMs, JSON.stringify(told));
    }
  };
  const tells = (host: string) => ({ denials }: Told): boolean => denials.some(({ to }) => to.includes(host));
  const folders = (): readonly string[] => readdirSync(scene.paths.denials);
  const emptied = async (): Promise<void> => {
    for (const untilMs = performance.now() + WORKS_MS; folders().length > 0; await delay(50)) assert.ok(performance.now() < untilMs, folders().join(' '));
  };

  beforeEach(() => emptied()); // a sandbox that was closed is gone a little later

  for (const level of ['container', 'gvisor'] as const) {
    test(`tells what its address tells, of this sandbox alone, and cannot be written (${level})`, async () => {
      await using box = await scene.open({ level, rules: ['example.test:443'] });
      await using other = await scene.open({ level, rules: ['example.test:443'] });
      assert.deepEqual(await read(box), { total: 0, denials: [], waiting: [] }, 'it is there from the beginning');
      await refuse(other, 'theirs.example.test');
      await refuse(box, 'mine.example.test');
      await until(other, tells('theirs.example.test'));
      const told = await until(box, tells('mine.example.test'));
      assert.ok(!tells('theirs')(told));
      const { stdout } = await box.exec(['curl', '-sS', 'http://198.18.0.1:3128/denials']);
      assert.deepEqual(JSON.parse(stdout.toString()), told);
      assert.deepEqual(await box.python(WRITING), ['control']);
      assert.deepEqual(await read(box), told);
    });

    test(`is whole whenever it is read, and a flood of refusals has it written a few times a second (${level})`, async () => {
      await using box = await scene.open({ level, rules: ['example.test:443'] });
      const [folder = ''] = folders();
      let writings = 0;
      const watching = watch(`${scene.paths.denials}/${folder}`, (_, name) => void (writings += name === 'denials.json' ? 1 : 0));
      const started = performance.now();
      const [tries = 0, readings = 0, inodes = 0] = (await box.python(FLOOD))[0]?.split(' ').map(Number) ?? [];
      const told = await until(box, ({ total }) => total >= tries);
      const seconds = (performance.now() - started) / 1_000;
      watching.close();
      assert.ok(tries >= 40 && readings >= 2 && inodes >= 2, `${tries} tries, ${readings} readings, ${inodes} files`);
      assert.ok(writings >= 2 && writings <= 2 + 4 * seconds, `${writings} writings in ${seconds} s`);
      assert.equal(told.denials.length, Math.min(100, told.denials.length));
      const path = `${scene.paths.denials}/${folder}/denials.json`;
      assert.ok(statSync(path).size < 524_288);
      assert.match(readFileSync(path, 'latin1'), /^[\u0020-\u007e]*\n$/, 'nothing in it drives a terminal');
    });
  }

  test('is read by its sandbox, and by no other user of the host', async () => {
    await using box = await scene.open({ level: 'container', rules: ['example.test:443'] });
    await refuse(box, 'mine.example.test');
    await until(box, tells('mine.example.test'));
    const [folder = ''] = folders();
    const path = `${scene.paths.denials}/${folder}/denials.json`;
    assert.match(execFileSync('cat', [path], { encoding: 'utf8' }), /mine\.example\.test/, 'control: it is there');
    for (const id of ['65534', '1000', `${statSync(`/proc/${await scene.pidOf('scribe')}`).uid}`]) {
      const { status, stderr } = spawnSync('setpriv', ['--reuid', id, '--regid', id, '--clear-groups', 'cat', path], { encoding: 'utf8' });
      assert.ok(status !== 0 && /Permission denied/.test(stderr), `${id}: ${stderr}`);
    }
  });

  test('is there for a sandbox with a network alone, and gone with it', async () => {
    {
      await using box = await scene.open({ level: 'container', rules: ['example.test:443'] });
      assert.equal(folders().length, 1);
      assert.equal((await read(box)).total, 0);
    }
    await emptied();
    const none = await scene.caisson(['run', '--', 'ls', '/run/caisson']);
    assert.deepEqual([none.status, none.stdout.toString()], [0, '']);
  });

  test('goes on when control or the gate has died, and is gone with the launcher', async () => {
    await using box = await scene.open({ level: 'container', rules: ['example.test:443'] });
    process.kill(await scene.pidOf('control'), 'SIGKILL');
    await scene.ready();
    await refuse(box, 'one.example.test');
    await until(box, tells('one.example.test'));
    process.kill(await scene.pidOf('gate'), 'SIGKILL');
    for (const untilMs = performance.now() + WORKS_MS; !tells('two.example.test')(await read(box)); await delay(200)) {
      assert.ok(performance.now() < untilMs, 'the next gate does not write');
      await refuse(box, 'two.example.test');
    }
    assert.equal(folders().length, 1);
    process.kill(await scene.pidOf('launcher'), 'SIGKILL');
    await emptied();
    await scene.ready();
  });
});

test('what a sandbox has tried is told in printable ASCII and in bounded length, whatever it was', () => {
  const refusals = new Refusals();
  for (let at = 0; at < 300; at++) {
    refusals.add({ what: 'connection', to: `${at}\u001b]0;x\u0007\u009b31m\u202e${'"\\'.repeat(5_000)}`, rule: null, reason: '\u0000\ud800'.repeat(5_000), wouldAllow: `--allow \u009b${at}` }, at);
  }
  const text = denialsText({ refusals, approvals: { list: () => [] } });
  assert.match(text, /^[\u0020-\u007e]*\n$/);
  assert.ok(text.length < 524_288, `${text.length}`);
  const { total, denials } = JSON.parse(text) as Told;
  assert.deepEqual([total, denials.length], [300, 100]);
});

test('where there is no folder nothing is written, and where there is one again the next change is', async () => {
  const dir = mkdtempSync(`${tmpdir()}/caisson-denials-`);
  try {
    let text = 'first\n';
    const lost = new DenialsFile({ folder: `${dir}/none`, text: () => text });
    await lost.open();
    lost.close();
    const file = new DenialsFile({ folder: dir, text: () => text });
    await file.open();
    assert.deepEqual([readdirSync(dir), readFileSync(`${dir}/denials.json`, 'utf8')], [['denials.json'], 'first\n']);
    text = 'second\n';
    file.changed();
    for (const untilMs = performance.now() + 10_000; readFileSync(`${dir}/denials.json`, 'utf8') !== text; await delay(10)) assert.ok(performance.now() < untilMs);
    file.close();
    assert.equal(statSync(`${dir}/denials.json`).mode & 0o777, 0o644);
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test('is whole at any time, also where it is opened anew while it is being written', async () => {
  const dir = mkdtempSync(`${tmpdir()}/caisson-denials-`);
  try {
    let turn = 0;
    const file = new DenialsFile({ folder: dir, text: () => `${JSON.stringify({ turn: turn++, fill: 'x'.repeat(400_000) })}\n` });
    await file.open();
    let reading = true;
    const read = (async () => {
      let count = 0;
      for (; reading; count++) JSON.parse(await readFile(`${dir}/denials.json`, 'utf8'));
      return count;
    })();
    for (let round = 0; round < 100; round++) {
      file.changed();
      await Promise.all([file.open(), file.open(), file.open()]);
    }
    reading = false;
    assert.ok((await read) > 5);
    file.close();
    await file.open();
    assert.deepEqual(readdirSync(dir), ['denials.json']);
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test('whatever the gate has put in a folder keeps no address from the next sandbox', async () => {
  const folder = mkdtempSync(`${tmpdir()}/caisson-denials-`);
  const ground = { folder, uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
  try {
    const path = await makeDenialsFolder(ground, '198.19.0.1');
    mkdirSync(`${path}/full`);
    writeFileSync(`${path}/full/x`, '');
    writeFileSync(Buffer.concat([Buffer.from(`${path}/`), Buffer.from([0xff, 0xfe])]), '');
    symlinkSync('/etc', `${path}/away`);
    await removeDenialsFolder(ground, '198.19.0.1');
    assert.deepEqual(readdirSync(await makeDenialsFolder(ground, '198.19.0.1')), []);
    const left = readdirSync(folder).filter((name) => name !== '198.19.0.1');
    assert.equal(left.length, 1);
    assert.deepEqual(readdirSync(`${folder}/${left[0] ?? ''}`), ['full'], 'and nothing of it was followed or looked into');
  } finally {
    rmSync(folder, { recursive: true });
  }
});
