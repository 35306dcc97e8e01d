import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { cli, emptyPlace } from '../cli/given.ts';
import { HOME, IS_ROOT, NEEDS_ROOT } from '../harness.ts';

const TOOL = `${HOME}/build/native/caisson-gate`;

/** What stands in the place of caisson-gate on a host that lacks something: its script, and the words of the refusal. */
const LACKS: readonly (readonly [what: string, script: string, words: RegExp])[] = [
  ['no namespace for it', 'echo "nft: EPERM" >&2; exit 1', /its namespace cannot be made: nft: EPERM/],
  ['a namespace that ends at once', 'exit 0', /its namespace cannot be made: it ended with 0/],
  ['no log of what is refused', '[ "$1" = hold ] && exec "$REAL" "$@"; echo "log: EPROTONOSUPPORT" >&2; exit 1', /it does not start/],
];

for (const [what, script, words] of LACKS) {
  test(`NETWORK_UNAVAILABLE: on a host with ${what} everything but a network works, and nothing is left`, { skip: IS_ROOT ? false : NEEDS_ROOT }, async () => {
    await using place = emptyPlace();
    const [fake, real] = [`${place.dir}/gate`, `${place.dir}/real`];
    copyFileSync(TOOL, real);
    writeFileSync(fake, `#!/bin/sh\nREAL=${real}\n${script}\n`, { mode: 0o755 });
    const up = ['--mount', 'sh', '-c', 'mount --bind "$1" "$2" && shift 2 && exec "$@"', 'sh', fake, TOOL, `${HOME}/caisson`, 'up', '--detach'];
    execFileSync('unshare', up, { env: place.env, stdio: 'pipe', timeout: 60_000 });

    const ran = await cli(place.env, ['run', '--', 'echo', 'works']);
    assert.deepEqual([ran.status, ran.stdout.toString()], [0, 'works\n']);
    const refused = await cli(place.env, ['run', '--allow', 'api.example.com', '--', 'echo', 'never']);
    assert.deepEqual([refused.status, refused.stdout.toString()], [125, '']);
    assert.match(refused.stderr, /NETWORK_UNAVAILABLE/);
    assert.match(refused.stderr, words);
    const status = await cli(place.env, ['status']);
    assert.match(status.stdout.toString(), /^network +not here: /m);
    assert.doesNotMatch(status.stdout.toString(), /^ {2}gate /m);
    assert.equal((await cli(place.env, ['down'])).status, 0);
    const left = execFileSync('ps', ['-eo', 'args'], { encoding: 'utf8' }).split('\n').filter((line) => line.includes(place.dir));
    assert.deepEqual(left, []);
  });
}
