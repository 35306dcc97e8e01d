import { CaissonError } from '@caisson/contract/errors';
import type { ControlStatus, FromControl, RunRequest } from '@caisson/contract/light';
import { LEVELS } from '@caisson/contract';
import { askControl, instancePaths, runCommand, withDaemon } from './client.ts';
import { waitForGvisor } from './gvisor.ts';
import { doctor } from './doctor/doctor.ts';

/** Longest that one sandbox of the doctor may take; its probes have time limits of their own. */
const CALL_MS = 300_000;

export async function doctorCommand(flags: { readonly json?: boolean; readonly level?: string }, home: string): Promise<number> {
  const paths = instancePaths();
  const levels = LEVELS.filter((level) => flags.level === undefined || level === flags.level);
  if (levels.length === 0) throw new CaissonError('USAGE', { detail: `--level: ${flags.level} is not a level: ${LEVELS.join(', ')}` });
  await waitForGvisor(home);
  const status = async (): Promise<ControlStatus> => {
    const reply = await withDaemon(paths, home, () => askControl(paths, { type: 'status' }));
    return (reply as Extract<FromControl, { type: 'status' }>).status;
  };
  return doctor({
    status,
    levels,
    probePath: `${home}/build/native/caisson-probe`,
    json: flags.json === true,
    out: (text) => void process.stdout.write(text),
    async run(request: RunRequest, stdin: Buffer) {
      const chunks = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
      const result = await runCommand(paths, { ...request, stdin: true }, {
        signal: AbortSignal.timeout(CALL_MS),
        stdin: (async function* () {
          yield stdin;
        })(),
        write: async (stream, bytes) => void chunks[stream].push(bytes),
      });
      return { result, stdout: Buffer.concat(chunks.stdout), stderr: Buffer.concat(chunks.stderr) };
    },
  });
}
