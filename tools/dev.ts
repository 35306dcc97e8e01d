import { join } from 'node:path';
import { spawnSync } from 'node:child_process';
import { runGate } from './ok.ts';
import { runTests } from './test.ts';
import { writeGenerated } from './generate.ts';
import { packSdk } from './pack.ts';

const HELP = `Usage: ./dev COMMAND

  test [PATTERN…]  run the tests whose file path contains a pattern (all without one);
                   a pattern that no path contains selects tests by name
  ok               the gate: types, lint, dead code, generated files, native code, architecture, determinism
  gate determinism replays of a log that is kept, each to the same state (part of ok); --help shows its options
  generate         write the generated files under api/
  bench [NAME…]    measure, beside the peers that are here; raw data goes to bench/results/
  pack             build the SDK as a package for npm, in build/pack/
  soak [OPTION…]   random operations and kills beside a model of what must be true, or with --cycles N sandboxes one after
                   the other; --operations 10000 --sandboxes 50 --kills 0.02 --levels container,gvisor --seed N; what came of it goes to bench/results/
  kills [OPTION…]  kill -9 of scribe, control and launcher at random moments while commands run, and the record judged by what they
                   did; --kills 1000 --instances 2 --seed N --minutes N; what came of it goes to bench/results/
  setup            look again at everything that the first start sets up
`;

/** Runs one command of ./dev; resolves to its exit status. */
async function dev(root: string, command: string | undefined, rest: readonly string[]): Promise<number> {
  switch (command) {
    case 'test': return runTests(root, rest);
    case 'ok': return runGate(root);
    case 'gate': return gate(root, rest);
    case 'generate':
      for (const path of writeGenerated(root)) process.stdout.write(`wrote ${path}\n`);
      return 0;
    case 'pack':
      process.stdout.write(`wrote ${packSdk(root)}\n`);
      return 0;
    case 'bench': return program(root, 'bench/main.ts', rest);
    case 'soak': return program(root, 'test/soak/main.ts', rest);
    case 'kills': return program(root, 'test/kills/main.ts', rest);
    case 'setup': return 0;
    case undefined:
    case 'help':
    case '--help':
    case '-h':
      process.stdout.write(HELP);
      return 0;
    default:
      process.stderr.write(`error: no command ${command}\nhint: ./dev shows what there is\n`);
      return 2;
  }
}

function program(root: string, path: string, args: readonly string[]): number {
  return spawnSync(process.execPath, [join(root, path), ...args], { stdio: 'inherit' }).status ?? 1;
}

function gate(root: string, [name, ...rest]: readonly string[]): number {
  if (name === 'determinism') return program(root, 'tools/determinism.ts', rest);
  process.stderr.write(`error: no gate ${name ?? ''}\nhint: ./dev gate determinism\n`);
  return 2;
}

process.exitCode = await dev(join(import.meta.dirname, '..'), process.argv[2], process.argv.slice(3));
