import { runProgram } from './peer.ts';

/**
 * repeat.ts COUNT ARGV…: runs a command that often, one after another, and prints the milliseconds that each took
 * as JSON. Every command, ours too, is measured from this small process.
 */
async function repeat(count: number, argv: readonly string[]): Promise<readonly number[]> {
  const times: number[] = [];
  for (let n = 0; n < count; n++) {
    const numbered = argv.map((argument) => argument.replaceAll('{n}', `${process.pid}-${n}`));
    const start = performance.now();
    const { status, stderr } = await runProgram(numbered);
    times.push(performance.now() - start);
    if (status !== 0) throw new Error(`${numbered.join(' ')} ended with ${status}: ${stderr.trim()}`);
  }
  return times;
}

try {
  process.stdout.write(JSON.stringify(await repeat(Number(process.argv[2]), process.argv.slice(3))));
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exitCode = 1;
}
