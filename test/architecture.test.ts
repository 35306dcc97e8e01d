import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { findings, type Law } from '../tools/architecture.ts';
import { readTree, type Tree } from '../tools/tree.ts';

const CORE = ['contract', 'wire', 'authority', 'isolation', 'runtime', 'sealing', 'tlog', 'follower', 'evidence', 'timestamp', 'witness', 'archive', 'files', 'images', 'workspace', 'egress', 'vault', 'sandbox'].map((room) => `@caisson/${room}`);

/** The rights of every room, in the order of the data. What is not here is not allowed. */
const LAW: Law = {
  '@caisson/contract': { rooms: [], packages: ['zod'], builtins: [], doors: ['.', './api', './errors', './light'] },
  '@caisson/wire': { rooms: ['@caisson/contract'], packages: [], builtins: ['fs', 'net', 'timers/promises'] },
  '@caisson/authority': { rooms: ['@caisson/contract'], packages: [], builtins: [] },
  '@caisson/isolation': { rooms: ['@caisson/contract'], packages: [], builtins: [] },
  '@caisson/runtime': {
    rooms: ['@caisson/contract', '@caisson/isolation', '@caisson/wire'],
    packages: ['undici', 'zod'],
    builtins: ['child_process', 'crypto', 'fs', 'fs/promises', 'net', 'os', 'path', 'stream', 'timers/promises', 'util'],
  },
  '@caisson/tar': { rooms: ['@caisson/contract'], packages: [], builtins: [] },
  '@caisson/files': {
    rooms: ['@caisson/contract', '@caisson/tar'],
    packages: [],
    builtins: ['buffer', 'crypto', 'os', 'path', 'stream', 'stream/promises', 'util', 'zlib'],
  },
  '@caisson/workspace': {
    rooms: ['@caisson/contract'],
    packages: ['zod'],
    builtins: ['child_process', 'events', 'fs', 'fs/promises', 'path', 'stream', 'stream/promises', 'util'],
  },
  '@caisson/tlog': { rooms: [], packages: [], builtins: ['crypto'] },
  '@caisson/follower': { rooms: [], packages: ['zod'], builtins: ['fs'] },
  '@caisson/witness': {
    rooms: ['@caisson/contract', '@caisson/follower', '@caisson/tlog'],
    packages: ['zod'],
    builtins: ['crypto', 'fs', 'fs/promises', 'http', 'path', 'timers/promises'],
    doors: ['.', './status'],
  },
  '@caisson/timestamp': {
    rooms: ['@caisson/contract', '@caisson/follower', '@caisson/tlog'],
    packages: ['asn1js', 'zod'],
    builtins: ['crypto', 'fs', 'fs/promises', 'path', 'timers/promises'],
    doors: ['.', './config', './status'],
  },
  '@caisson/evidence': {
    rooms: ['@caisson/contract', '@caisson/tlog', '@caisson/wire'],
    packages: [],
    builtins: ['child_process', 'crypto', 'events', 'fs', 'fs/promises', 'path', 'timers/promises'],
  },
  '@caisson/projection': { rooms: ['@caisson/contract', '@caisson/tlog'], packages: ['zod'], builtins: ['crypto', 'fs', 'sqlite'] },
  '@caisson/sealing': {
    rooms: ['@caisson/contract'],
    packages: [],
    builtins: ['crypto', 'fs', 'fs/promises', 'path'],
  },
  '@caisson/archive': {
    rooms: ['@caisson/contract', '@caisson/follower', '@caisson/tlog'],
    packages: ['@aws-sdk/client-s3', 'zod'],
    builtins: ['child_process', 'crypto', 'events', 'fs', 'fs/promises', 'path', 'timers/promises'],
    doors: ['.', './policy', './status'],
  },
  '@caisson/images': {
    rooms: ['@caisson/contract', '@caisson/tar'],
    packages: ['zod'],
    builtins: ['child_process', 'crypto', 'fs', 'fs/promises', 'path', 'readline', 'stream', 'url', 'zlib'],
  },
  '@caisson/egress': {
    rooms: ['@caisson/contract', '@caisson/wire'],
    packages: ['@peculiar/x509', 'reflect-metadata', 'zod'],
    builtins: ['crypto', 'dgram', 'dns', 'dns/promises', 'events', 'fs', 'fs/promises', 'http', 'http2', 'net', 'stream', 'timers/promises', 'tls'],
    doors: ['.', './rules'],
  },
  '@caisson/vault': {
    rooms: ['@caisson/contract', '@caisson/wire'],
    packages: ['zod'],
    builtins: ['buffer', 'child_process', 'crypto', 'fs', 'fs/promises', 'http', 'https', 'net', 'timers/promises'],
  },
  '@caisson/sandbox': {
    rooms: ['@caisson/contract', '@caisson/authority', '@caisson/isolation', '@caisson/runtime', '@caisson/evidence'],
    packages: [],
    builtins: ['crypto', 'events', 'stream', 'timers/promises', 'util'],
  },
  '@caisson/daemon': {
    rooms: [...CORE, '@caisson/projection'],
    packages: ['fastify', 'ws', 'zod'],
    builtins: [
      'child_process', 'crypto', 'events', 'fs', 'fs/promises', 'http', 'https', 'net', 'os', 'path', 'stream', 'stream/promises',
      'timers/promises', 'util',
    ],
  },
  '@caisson/sdk': {
    rooms: [],
    packages: [],
    builtins: ['crypto', 'fs', 'fs/promises', 'http', 'https', 'net', 'path', 'stream', 'stream/promises', 'string_decoder', 'timers/promises'],
  },
  '@caisson/cli': {
    rooms: ['@caisson/contract', '@caisson/wire', '@caisson/egress', '@caisson/tlog', '@caisson/archive', '@caisson/evidence', '@caisson/projection', '@caisson/sdk', '@caisson/timestamp', '@caisson/witness'],
    packages: ['commander'],
    builtins: ['child_process', 'crypto', 'events', 'fs', 'fs/promises', 'http', 'https', 'os', 'path', 'stream', 'stream/promises', 'timers/promises', 'util'],
  },
};

test('every room imports, declares and opens only what the law allows', () => {
  assert.deepEqual(findings(readTree(join(import.meta.dirname, '..')), LAW), []);
});

/** Two rooms that keep a law; each case below breaks one thing in them. */
const SMALL_LAW: Law = {
  '@x/low': { rooms: [], packages: [], builtins: [] },
  '@x/high': { rooms: ['@x/low'], packages: ['zod'], builtins: ['fs'] },
};

interface Change {
  readonly path?: string;
  readonly text?: string;
  readonly lowDependencies?: readonly string[];
  readonly lowExports?: Readonly<Record<string, string>>;
  readonly reasons?: string;
  readonly law?: Law;
}

function smallTree({ path, text, lowDependencies = [], lowExports = { '.': './src/index.ts' }, reasons = '`zod`' }: Change = {}): Tree {
  const files = [
    { path: 'core/low/src/index.ts', text: 'export const low = 1;\n' },
    { path: 'core/high/src/index.ts', text: "import { low } from '@x/low';\nimport { readFileSync } from 'node:fs';\nimport { z } from 'zod';\n" },
  ];
  return {
    rooms: [
      { name: '@x/low', folder: 'core/low', dependencies: lowDependencies, exports: lowExports },
      { name: '@x/high', folder: 'core/high', dependencies: ['@x/low', 'zod'], exports: { '.': './src/index.ts' } },
    ],
    files: path === undefined ? files : [...files.filter((file) => file.path !== path), { path, text: text ?? '' }],
    reasons,
  };
}

test('a tree that keeps the law has no findings', () => {
  assert.deepEqual(findings(smallTree(), SMALL_LAW), []);
});

const LOW = 'core/low/src/index.ts';
const CASES: readonly (readonly [string, Change, RegExp])[] = [
  ['a room that imports what it may not', { path: LOW, text: "import { high } from '@x/high';" }, /low\/src\/index\.ts imports @x\/high, which @x\/low does not declare/],
  ['a type import that it may not', { path: LOW, text: "import type { High } from '@x/high';" }, /imports @x\/high/],
  ['a dynamic import that it may not', { path: LOW, text: "const high = await import('@x/high');" }, /imports @x\/high/],
  ['an import over several lines', { path: LOW, text: "import {\n  high,\n} from '@x/high';" }, /imports @x\/high/],
  ['a declaration that the law forbids', { lowDependencies: ['@x/high'] }, /@x\/low declares @x\/high, which it may not import/],
  ['a built-in that the room may not use', { path: LOW, text: "import { readFileSync } from 'node:fs';" }, /imports node:fs, which @x\/low may not use/],
  ['a relative import into another room', { path: LOW, text: "import { high } from '../../high/src/index.ts';" }, /reaches past a door/],
  ['an import past the door', { path: 'core/high/src/index.ts', text: "import { low } from '@x/low/src/index.ts';" }, /which is not a door/],
  ['a second door', { lowExports: { '.': './src/index.ts', './inner': './src/inner.ts' } }, /has the doors \. \.\/inner/],
  ['a ring of files', { path: LOW, text: "import { low } from './index.ts';" }, /files import each other/],
  ['a ring of rooms in the law', { law: { ...SMALL_LAW, '@x/low': { rooms: ['@x/high'], packages: [], builtins: [] } } }, /rooms import each other/],
  ['a room without rights', { law: { '@x/low': { rooms: [], packages: [], builtins: [] } } }, /@x\/high is a room that the law does not name/],
  ['a file of 401 lines', { path: LOW, text: 'x\n'.repeat(401) }, /has 401 lines/],
  ['files that are long in the median', { path: LOW, text: 'x\n'.repeat(300) }, /median/],
  ['a file named utils', { path: 'core/low/src/string-utils.ts' }, /does not say what it is for/],
  ['a package without a reason', { reasons: '' }, /zod has no reason/],
  ['a shell string', { path: LOW, text: 'spawn(line, { shell: true });' }, /gives a string to a shell/],
  ['an imported exec', { path: LOW, text: "import { exec, spawn } from 'node:child_process';" }, /gives a string to a shell/],
  ['a variable of the module', { path: LOW, text: 'let count = 0;' }, /keeps state in the module/],
  ['a growing collection of the module', { path: LOW, text: 'const seen: Map<string, number> = new Map();' }, /keeps state in the module/],
];

for (const [what, change, finding] of CASES) {
  test(`the architecture check refuses ${what}`, () => {
    assert.match(findings(smallTree(change), change.law ?? SMALL_LAW).join('\n'), finding);
  });
}

test('an import that only a comment names is no import', () => {
  assert.deepEqual(findings(smallTree({ path: LOW, text: "// import { high } from '@x/high';\n/* import('@x/high') */" }), SMALL_LAW), []);
});
