import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { staleFiles } from './generate.ts';

interface Check {
  readonly name: string;
  /** Resolves to what is wrong, or to nothing when all is well. */
  readonly run: (root: string) => Promise<string>;
}

/** Rooms that may use nothing of Node: their own tsconfig gives them no types of it. */
const PURE_ROOMS = ['core/contract', 'core/authority', 'core/isolation'];

export const CHECKS: readonly Check[] = [
  { name: 'generated files', run: checkGenerated },
  { name: 'native code', run: (root) => command(root, 'sh', ['tools/native.sh', join(root, 'build/native')]) },
  { name: 'types', run: (root) => command(root, binary(root, 'tsc'), ['-p', 'tsconfig.json']) },
  ...PURE_ROOMS.map((room) => ({ name: `types of ${room}`, run: (root: string) => command(root, binary(root, 'tsc'), ['-p', room]) })),
  { name: 'lint', run: (root) => command(root, binary(root, 'oxlint'), ['--type-aware', '--deny-warnings', '--format=unix']) },
  { name: 'dead code', run: (root) => command(root, binary(root, 'knip'), ['--no-progress']) },
  { name: 'architecture', run: (root) => command(root, process.execPath, ['--test', 'test/architecture.test.ts']) },
  { name: 'determinism', run: (root) => command(root, process.execPath, ['tools/determinism.ts']) },
];

/** Runs every check and shows each with its time. Resolves to 1 when any failed. */
export async function runGate(root: string, checks: readonly Check[] = CHECKS): Promise<number> {
  let failures = 0;
  for (const { name, run } of checks) {
    const start = performance.now();
    const wrong = await run(root);
    const seconds = ((performance.now() - start) / 1000).toFixed(1);
    process.stdout.write(`${wrong === '' ? 'ok  ' : 'FAIL'}  ${name}  ${seconds} s\n${wrong}`);
    if (wrong !== '') failures++;
  }
  if (failures > 0) process.stdout.write(`${failures} of ${checks.length} checks failed\n`);
  return failures === 0 ? 0 : 1;
}

function checkGenerated(root: string): Promise<string> {
  const stale = staleFiles(root);
  return Promise.resolve(stale.length === 0 ? '' : `${stale.join(', ')} is not up to date: run ./dev generate\n`);
}

const binary = (root: string, name: string): string => join(root, 'node_modules/.bin', name);

/** Resolves to '' when the program exits with 0, otherwise to all it wrote. */
async function command(root: string, program: string, args: readonly string[]): Promise<string> {
  if (program.startsWith('/') && !existsSync(program)) return `${program} is missing: run ./dev setup\n`;
  const env = { ...process.env, CAISSON_HOME: root, PATH: `${join(root, 'build/node')}:${process.env['PATH'] ?? ''}` };
  const child = spawn(program, args, { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'] });
  const wrote: Buffer[] = [];
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => wrote.push(chunk));
  const status = await new Promise<number | string>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve(code ?? signal ?? 'unknown'));
  });
  if (status === 0) return '';
  const text = Buffer.concat(wrote).toString('utf8').trimEnd();
  return `${text}\n(${program} ended with ${status})\n`;
}
