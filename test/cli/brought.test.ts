import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, realpathSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { IS_ROOT, NEEDS_ROOT, startCaisson, type Caisson } from '../harness.ts';
import { cli, emptyPlace, endOf, startCli, type Said } from './given.ts';
import { roadTo } from './road.ts';

const said = ({ status, stdout, stderr }: Said): string => `${status}\n${stdout.toString()}\n${stderr}`;

/** Everything below a folder: what it is, its mode, and what it holds. */
function tree(root: string, below = ''): Record<string, string> {
  return Object.assign({}, ...readdirSync(join(root, below)).map((name) => {
    const path = join(below, name);
    const stats = lstatSync(join(root, path));
    const mode = (stats.mode & 0o7777).toString(8);
    if (stats.isSymbolicLink()) return { [path]: `link ${readlinkSync(join(root, path))}` };
    if (stats.isFIFO()) return { [path]: 'pipe' };
    return stats.isDirectory() ? { [path]: `folder ${mode}`, ...tree(root, path) } : { [path]: `${mode} ${readFileSync(join(root, path), 'latin1')}` };
  })) as Record<string, string>;
}

describe('a folder that is brought in', { skip: IS_ROOT ? false : NEEDS_ROOT }, () => {
  let caisson: Caisson;
  let ground = '';
  let env: NodeJS.ProcessEnv;
  before(async () => {
    caisson = await startCaisson();
    ground = realpathSync(mkdtempSync(`${tmpdir()}/caisson-brought-`));
    env = { ...caisson.env, XDG_STATE_HOME: join(ground, 'state') };
  });
  after(async () => {
    await caisson[Symbol.asyncDispose]();
    rmSync(ground, { recursive: true });
  });

  /** A folder with something of each kind. */
  function project(): string {
    const folder = join(mkdtempSync(join(ground, 'p-')), 'My Project');
    mkdirSync(join(folder, 'src/deep'), { recursive: true });
    writeFileSync(join(folder, 'README'), 'one\ntwo\nthree\n');
    writeFileSync(join(folder, 'src/deep/a file'), 'a\n');
    writeFileSync(join(folder, 'src/run.sh'), '#!/bin/sh\n', { mode: 0o755 });
    symlinkSync('run.sh', join(folder, 'src/link'));
    mkdirSync(join(folder, 'cache'));
    writeFileSync(join(folder, 'cache/big'), 'not to come\n');
    writeFileSync(join(folder, '.caissonignore'), '# none\ncache/\n*.log\n!kept.log\n');
    writeFileSync(join(folder, 'x.log'), '');
    writeFileSync(join(folder, 'kept.log'), '');
    execFileSync('mkfifo', [join(folder, 'fifo')]);
    return folder;
  }
  async function brought(folder: string, ...argv: readonly string[]): Promise<{ readonly id: string; readonly end: Said }> {
    const end = await cli(env, ['run', '--in', folder, '--', ...argv]);
    const id = /changes (sbx-[0-9a-z]{16})/.exec(end.stderr)?.[1] ?? '';
    assert.notEqual(id, '', said(end));
    return { id, end };
  }
  const ok = async (...args: readonly string[]): Promise<string> => {
    const end = await cli(env, args);
    assert.equal(end.status, 0, said(end));
    return end.stdout.toString();
  };

  const nothingKept = async (): Promise<void> => {
    assert.equal(await ok('snapshots', '--json'), '{"snapshots":[]}\n');
    assert.equal((await ok('workspaces')).trim(), 'ID  NAME  AGE  USED  SIZE  USED BY');
  };

  test('rm -rf * in it leaves the folder untouched, and changes lists every removal', async () => {
    const folder = project();
    const was = tree(folder);
    const { id, end } = await brought(folder, 'sh', '-c', 'ls -A; rm -rf *; exit 6');
    assert.equal(end.status, 6, said(end));
    assert.deepEqual(end.stdout.toString().split('\n').toSorted(), ['', '.caissonignore', 'README', 'kept.log', 'src']);
    assert.match(end.stderr, /left out fifo/);
    assert.match(end.stderr, /7 paths changed/);
    assert.deepEqual(tree(folder), was);
    assert.deepEqual((await ok('changes', id)).split('\n').map((line) => line.replace(/ {2}.*/, '')).toSorted(), [
      '', 'D README', 'D kept.log', 'D src/', 'D src/deep/', 'D src/deep/a file', 'D src/link', 'D src/run.sh',
    ]);
    assert.match(await ok('ls', '-a'), new RegExp(`${id}.*closed.*in-my-project-[0-9a-f]{6}`));
    const kept = join(ground, 'state/caisson-brought', `${id}.json`);
    assert.equal(lstatSync(kept).mode & 0o777, 0o600);
    await ok('discard', id);
    assert.equal(existsSync(kept), false);
    assert.deepEqual(tree(folder), was);
    assert.equal((await cli(env, ['changes', id])).status, 2);
    assert.equal(await ok('snapshots', '--json'), '{"snapshots":[]}\n');
  });

  test('accept does to the folder what was done in the sandbox, and nothing else', async () => {
    const folder = project();
    const was = tree(folder);
    const { id } = await brought(folder, 'sh', '-c', [
      'sed -i s/two/2/ README', 'chmod 700 src/run.sh', 'rm -r src/deep', 'mkdir -p new/er', 'echo n > new/er/file', 'ln -s ../README new/in', 'ln -s /etc/passwd new/out',
      'rm src/link', 'mkdir src/link', 'echo l > src/link/l', 'echo s > setuid', 'chmod 6777 setuid', 'mkfifo pipe',
    ].join(' && '));
    assert.deepEqual(tree(folder), was);
    assert.match(await ok('changes', '--diff', id), /--- a\/README\n\+\+\+ b\/README\n@@ -1,3 \+1,3 @@\n one\n-two\n\+2\n three\n/);
    const end = await cli(env, ['accept', id]);
    assert.equal(end.status, 0, said(end));
    assert.match(end.stderr, /left out new\/out: it is a link that leads outside/);
    assert.match(end.stderr, /left out pipe: it is a fifo/);
    const { 'src/deep': _deep, 'src/deep/a file': _file, ...rest } = was;
    assert.deepEqual(tree(folder), {
      ...rest, README: '644 one\n2\nthree\n', 'src/run.sh': '700 #!/bin/sh\n', new: 'folder 755', 'new/er': 'folder 755', 'new/er/file': '644 n\n', 'new/in': 'link ../README',
      'src/link': 'folder 755', 'src/link/l': '644 l\n', setuid: '777 s\n',
    });
    assert.deepEqual(readdirSync(dirname(folder)), ['My Project'], 'nothing is left beside it');
    assert.equal(await ok('changes', id), '', 'what was accepted is no change any more');
    assert.match(end.stderr, new RegExp(`workspace in-my-project-[0-9a-f]{6} stays until ./caisson discard ${id}`), 'what was left out is nowhere else');
    await ok('discard', id);
    await nothingKept();
  });

  test('what came to nothing and what was accepted leave nothing behind; --keep leaves a workspace to go on in', async () => {
    const folder = project();
    const idle = await cli(env, ['run', '--in', folder, '--', 'true']);
    assert.match(idle.stderr, /0 paths changed.*nothing is kept/, said(idle));
    await nothingKept();
    const { id } = await brought(folder, 'sh', '-c', 'echo new > README; rm -r src');
    assert.match(await ok('changes'), new RegExp(`^ID +AGE +FOLDER\\n${id} +\\d+s +${folder}\\n$`));
    await ok('accept', id);
    await nothingKept();
    assert.equal(tree(folder)['README'], '644 new\n');
    await ok('accept', id);
    assert.deepEqual(JSON.parse(await ok('changes', '--json', id)), { sandbox: id, folder, changes: [], truncated: false });
    assert.deepEqual(JSON.parse(await ok('changes', '--json')), { brought: [] });
    await ok('discard', id);
    const { id: other } = await brought(folder, 'sh', '-c', 'echo newer > README');
    const kept = JSON.parse(await ok('accept', '--keep', '--json', other)) as { kept: string };
    await ok('create', '--name', 'again', '--workspace', kept.kept);
    await ok('exec', 'again', '--', 'sh', '-c', 'echo newest > README');
    await ok('rm', 'again');
    await ok('accept', other);
    assert.equal(tree(folder)['README'], '644 newest\n');
    await nothingKept();
  });

  test('what was done is shown, accepted and discarded after Caisson was stopped and started', async () => {
    await using place = emptyPlace({ XDG_STATE_HOME: join(ground, 'state') });
    const done = async (...args: readonly string[]): Promise<Said> => {
      const end = await cli(place.env, args);
      assert.equal(end.status, 0, said(end));
      return end;
    };
    const folder = project();
    const [id = '', other = ''] = await Promise.all(['echo new > README', 'rm -r *'].map(async (script) => /changes (sbx-[0-9a-z]{16})/.exec((await done('run', '--in', folder, '--', 'sh', '-c', script)).stderr)?.[1]));
    await done('down');
    await done('up', '--detach');
    assert.equal((await done('changes', id)).stdout.toString(), 'M README  4 bytes\n');
    assert.match((await done('changes', '--diff', id)).stdout.toString(), /-one\n-two\n-three\n\+new\n/);
    await done('discard', other);
    await done('accept', id);
    assert.equal(tree(folder)['README'], '644 new\n');
    assert.equal((await done('workspaces')).stdout.toString().trim(), 'ID  NAME  AGE  USED  SIZE  USED BY');
  });

  test('a mode that changed is in the difference, as accept makes it', async () => {
    const folder = project();
    const { id } = await brought(folder, 'sh', '-c', 'chmod 700 README; chmod 700 src; echo x > tool; chmod 755 tool');
    const shown = await ok('changes', '--diff', id);
    assert.match(shown, /diff --git a\/README b\/README\nold mode 100644\nnew mode 100700\n/);
    assert.match(shown, /diff --git a\/src b\/src\nold mode 040755\nnew mode 040700\n/);
    assert.match(shown, /diff --git a\/tool b\/tool\nnew file mode 100755\n--- \/dev\/null\n/);
    await ok('discard', id);
  });

  test('the whole machine is no folder to bring in, and the views of the kernel in a folder are left out', async () => {
    for (const folder of ['/', '/proc', '/sys/kernel']) {
      const end = await cli(env, ['run', '--in', folder, '--', 'true']);
      assert.deepEqual([end.status, /USAGE: --in: .* is not a folder to bring in/.test(end.stderr)], [125, true], said(end));
    }
    const folder = project();
    mkdirSync(join(folder, 'proc'));
    execFileSync('mount', ['-t', 'proc', 'proc', join(folder, 'proc')]);
    try {
      const end = await cli(env, ['run', '--in', folder, '--', 'ls', 'proc']);
      assert.match(end.stderr, /left out proc: it is a view of the kernel/, said(end));
      await nothingKept();
    } finally {
      execFileSync('umount', [join(folder, 'proc')]);
    }
  });

  test('FILE_CHANGED is what accept says when the folder has changed meanwhile, naming each path; --force goes over it', async () => {
    const folder = project();
    const { id } = await brought(folder, 'sh', '-c', 'echo theirs > README; echo theirs > added; rm -r src/deep; echo fine > other');
    writeFileSync(join(folder, 'README'), 'mine\n');
    writeFileSync(join(folder, 'added'), 'mine too\n');
    writeFileSync(join(folder, 'src/deep/unseen'), 'stays\n');
    const was = tree(folder);
    const refused = await cli(env, ['accept', id]);
    assert.equal(refused.status, 1);
    assert.match(refused.stderr, /FILE_CHANGED: .*since it was brought in: README, added; --force/);
    assert.deepEqual(tree(folder), was);
    const forced = await cli(env, ['accept', '--force', id]);
    assert.equal(forced.status, 0, said(forced));
    assert.match(forced.stderr, /src\/deep\/ stays/);
    const { 'src/deep/a file': _gone, ...rest } = was;
    assert.deepEqual(tree(folder), { ...rest, README: '644 theirs\n', added: '644 theirs\n', other: '644 fine\n' });
    await ok('discard', id);
  });

  test('FILE_CHANGED: what is written into the folder while accept fetches is not written over', { timeout: 60_000 }, async () => {
    const folder = project();
    const { id } = await brought(folder, 'sh', '-c', 'echo theirs > README; head -c 400000000 /dev/zero > big');
    const accepting = startCli(env, ['accept', id]);
    const end = endOf(accepting);
    const beside = join(dirname(folder), `.My Project.caisson-${id}`, 'new');
    while (!existsSync(beside)) await delay(2);
    writeFileSync(join(folder, 'README'), 'mine\n');
    assert.match((await end).stderr, /FILE_CHANGED: .*README/);
    assert.equal(readFileSync(join(folder, 'README'), 'latin1'), 'mine\n');
    assert.deepEqual(readdirSync(dirname(folder)), ['My Project']);
    await ok('discard', id);
  });

  test('FILE_DENIED is what accept says to a folder that became a link, and nothing is written through it', async () => {
    const folder = project();
    const outside = mkdtempSync(join(ground, 'outside-'));
    const { id } = await brought(folder, 'sh', '-c', 'echo evil > src/planted; echo evil > src/run.sh');
    renameSync(join(folder, 'src'), join(outside, 'real'));
    writeFileSync(join(outside, 'run.sh'), 'mine\n');
    symlinkSync(outside, join(folder, 'src'));
    for (const flags of [[], ['--force']]) {
      const end = await cli(env, ['accept', ...flags, id]);
      assert.match(end.stderr, /FILE_DENIED: src\/[a-z.]+: not permitted, src above it is no folder/, said(end));
      assert.deepEqual(readdirSync(outside).toSorted(), ['real', 'run.sh']);
      assert.equal(readFileSync(join(outside, 'run.sh'), 'latin1'), 'mine\n');
    }
    renameSync(folder, `${folder} 2`);
    mkdirSync(folder);
    assert.match((await cli(env, ['accept', id])).stderr, /FILE_CHANGED: .*not the folder that was brought in/);
    await ok('discard', id);
  });

  test('Ctrl-C while the folder comes in leaves neither a sandbox nor a workspace', { timeout: 120_000 }, async () => {
    const folder = project();
    writeFileSync(join(folder, 'big'), Buffer.alloc(8 * 1024 * 1024, 'x'));
    const was = tree(folder);
    const moments: readonly (readonly [NodeJS.Signals, number, 'there' | 'back', RegExp])[] = [
      ['SIGINT', 130, 'there', /^PUT .*\/files\/archive/], ['SIGTERM', 143, 'back', /^PUT .*\/files\/archive/], ['SIGHUP', 129, 'back', /^POST \/v1\/sandboxes$/],
      ['SIGINT', 130, 'back', /^POST .*\/snapshots$/], ['SIGINT', 130, 'back', /^POST .*\/execs$/],
    ];
    for (const [signal, status, held, request] of moments) {
      const reached = Promise.withResolvers<void>();
      const release = Promise.withResolvers<void>();
      let pieces = 0;
      await using road = await roadTo(caisson.paths.apiSocket, join(ground, 'road.sock'), (way, asked) => {
        if (way !== held || !request.test(asked) || ++pieces < (held === 'there' ? 4 : 1)) return;
        reached.resolve();
        return release.promise;
      });
      const running = startCli({ ...env, CAISSON_API_SOCKET: road.socket }, ['run', '--in', folder, '--', 'sh', '-c', 'sleep 20; echo ran']);
      const ended = endOf(running);
      await Promise.race([reached.promise, ended.then((end) => assert.fail(`it ended before: ${said(end)}`))]);
      running.kill(signal);
      running.kill(signal); // a program above us may send it on once more
      await delay(200);
      release.resolve();
      const end = await ended;
      assert.deepEqual([end.status, end.stdout.toString()], [status, ''], `${request}: ${said(end)}`);
      assert.match(end.stderr, new RegExp(`CANCELLED: .*${signal}`));
      assert.equal(await ok('ls', '--json'), '{"sandboxes":[]}\n', String(request));
      await nothingKept();
      assert.equal(await ok('changes', '--json'), '{"brought":[]}\n');
    }
    assert.deepEqual(tree(folder), was);
  });

  test('an accept that is killed at any moment is completed or undone by the next one', async () => {
    for (let killAfterMs = 150; killAfterMs <= 650; killAfterMs += 100) {
      const folder = project();
      const { id } = await brought(folder, 'sh', '-c', 'for i in $(seq 60); do mkdir -p d$i; echo $i > d$i/f; done; rm -r src; echo new > README');
      const was = tree(folder);
      const first = startCli(env, ['accept', id]);
      const killed = endOf(first);
      setTimeout(() => first.kill('SIGKILL'), killAfterMs);
      await killed;
      await ok('accept', id);
      const now = tree(folder);
      assert.equal(now['README'], '644 new\n');
      assert.equal(Object.keys(now).filter((path) => path.startsWith('d')).length, 120);
      assert.deepEqual(Object.keys(now).filter((path) => path.startsWith('src')), []);
      assert.equal(now['cache/big'], was['cache/big']);
      assert.deepEqual(readdirSync(dirname(folder)), ['My Project']);
      await ok('discard', id);
    }
  });

  test('bring-in that fails leaves no sandbox and no workspace behind', async () => {
    const folder = project();
    const refused = await cli(env, ['run', '--in', folder, '--workspace', '1', '--', 'true']);
    assert.equal(refused.status, 125, said(refused));
    chmodSync(folder, 0o700);
    const missing = await cli(env, ['run', '--in', join(folder, 'no'), '--', 'true']);
    assert.deepEqual([missing.status, /USAGE: .*is not a folder/.test(missing.stderr)], [125, true], said(missing));
    assert.equal(await ok('ls', '--json'), '{"sandboxes":[]}\n');
  });
});
