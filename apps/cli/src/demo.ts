import { randomInt } from 'node:crypto';
import { exitStatus, type RunRequest, type RunResult } from '@caisson/contract/light';
import { auditVerify } from './audit.ts';
import { waitForGvisor } from './gvisor.ts';
import { instancePaths, runCommand, withDaemon } from './client.ts';

interface Scene {
  readonly says: string;
  readonly shown: string;
  readonly request: RunRequest;
  /** What must be seen for the scene to have shown what it says. */
  readonly holds: (result: RunResult, stdout: string) => boolean;
}

const sh = (script: string): readonly string[] => ['sh', '-c', script];

/** The number proves that what is printed was computed now. */
function scenes(seed: number): readonly Scene[] {
  return [
    {
      says: 'A real command in a real sandbox',
      shown: `python3 -c 'print(${seed} ** 3)'`,
      request: { argv: ['python3', '-c', `print(${seed} ** 3)`] },
      holds: (result, stdout) => result.exit === 0 && stdout.trim() === String(BigInt(seed) ** 3n),
    },
    {
      says: 'It is nobody, owns nothing and sees nobody',
      shown: 'id -u; grep -E "CapEff|NoNewPrivs|Seccomp:" /proc/self/status; ls -d /proc/[0-9]*',
      request: { argv: sh('id -u; grep -E "CapEff|NoNewPrivs|Seccomp:" /proc/self/status; ls -d /proc/[0-9]* | tr "\\n" " "; echo') },
      holds: (result, stdout) => result.exit === 0 && /CapEff:\t0+\n/.test(stdout) && /Seccomp:\t2/.test(stdout),
    },
    {
      says: 'The host is out of reach',
      shown: 'cat /etc/shadow; ls /root; touch /usr/x; python3 connect 192.0.2.1:80',
      request: {
        argv: sh('cat /etc/shadow; ls -A /root | wc -l; touch /usr/x; python3 -c "import socket; socket.create_connection((\'192.0.2.1\', 80), 2)" 2>&1 | tail -1; true'),
      },
      holds: (result, stdout) => result.exit === 0 && /^0$/m.test(stdout) && /unreachable/i.test(stdout),
    },
    {
      says: 'Limits hold: one second of time',
      shown: 'sleep 9',
      request: { argv: ['sleep', '9'], limits: { wallMs: 1_000 } },
      holds: (result) => result.ending.kind === 'timed-out',
    },
    {
      says: 'Limits hold: 64 MiB of memory',
      shown: "python3 -c 'x = bytearray(10 ** 9)'",
      request: { argv: ['python3', '-c', 'x = bytearray(10 ** 9)'], limits: { memoryBytes: 64 * 1024 * 1024 } },
      holds: (result) => result.ending.kind === 'out-of-memory',
    },
    {
      says: 'The same under a kernel of its own',
      shown: 'uname -r   (--level gvisor)',
      request: { argv: ['uname', '-r'], level: 'gvisor' },
      holds: (result, stdout) => result.level.delivered === 'gvisor' && stdout.includes('gvisor'),
    },
  ];
}

/** Runs the main job and shows it. Exit status 1 when a scene does not show what it says. */
export async function demo({ json }: { readonly json?: boolean }, home: string): Promise<number> {
  const paths = instancePaths();
  const print = (text: string): void => void (json === true || process.stdout.write(text));
  const shown: object[] = [];
  let failed = 0;
  for (const [index, scene] of scenes(randomInt(1_000, 1_000_000)).entries()) {
    print(`\n${index + 1}. ${scene.says}\n   $ ${scene.shown}\n`);
    if (scene.request.level === 'gvisor') await waitForGvisor(home);
    const { result, text, stdout } = await withDaemon(paths, home, () => play(scene.request));
    for (const line of text.trimEnd().split('\n').filter((each) => each !== '')) print(`   | ${line}\n`);
    const missing = result.ending.kind === 'refused' && result.ending.code === 'LEVEL_UNAVAILABLE';
    const held = scene.holds(result, stdout);
    if (!held && !missing) failed += 1;
    const verdict = held ? 'as promised' : missing ? 'not available here' : 'NOT AS PROMISED';
    shown.push({ says: scene.says, verdict, level: result.level.delivered, exit: result.exit, reason: result.reason, evidence: result.evidence });
    print(`   → exit ${exitStatus(result.ending)}: ${result.reason}\n`);
    print(`   → ${verdict}; level ${result.level.delivered ?? 'none'}, ${lastOf(result)} ms in all, evidence entries ${result.evidence.intent?.index} and ${result.evidence.outcome?.index}\n`);
  }
  print('\nThe record of it, checked without the daemon:\n');
  const verified = await auditVerify(paths, { json: false, out: (chunk) => print(chunk.replaceAll(/^(?=.)/gm, '   ')) });
  print('\nNext: ./caisson run --help, ./caisson doctor (attacks itself), ./caisson down\n');
  if (json === true) process.stdout.write(`${JSON.stringify({ scenes: shown, failed, verified: verified === 0 })}\n`);
  return failed === 0 && verified === 0 ? 0 : 1;

  async function play(request: RunRequest): Promise<{ result: RunResult; text: string; stdout: string }> {
    const chunks = { stdout: [] as Buffer[], all: [] as Buffer[] };
    const result = await runCommand(paths, request, {
      signal: AbortSignal.timeout(120_000),
      write: async (stream, bytes) => {
        chunks.all.push(bytes);
        if (stream === 'stdout') chunks.stdout.push(bytes);
      },
    });
    return { result, text: Buffer.concat(chunks.all).toString('utf8'), stdout: Buffer.concat(chunks.stdout).toString('utf8') };
  }
}

function lastOf(result: RunResult): number {
  return Math.round(Math.max(0, ...Object.values(result.timings)));
}
