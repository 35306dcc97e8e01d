import type { Aftermath, Observation, Outside } from './probe.ts';

/** How the outcome of a run tells whether its attack worked, for attacks that say too little or cannot say it. */

const held = (saw: string): Observation => ({ through: false, saw });
const through = (saw: string): Observation => ({ through: true, saw });
export const broken = (saw: string): Observation => ({ through: null, saw });

/** What the probe reported, or that it did not. */
export function fromLine({ line, result }: Aftermath): Observation {
  return line ?? broken(`the probe reported nothing: ${result.reason}`);
}

export function fromMemory(aftermath: Aftermath): Observation {
  const { result } = aftermath;
  if (result.ending.kind !== 'out-of-memory') return fromLine(aftermath);
  return result.exit === 137 ? held(`exit 137: ${result.reason}`) : broken(`out of memory, but exit ${result.exit}`);
}

export function fromTime(limit: 'wall' | 'cpu'): (aftermath: Aftermath) => Observation {
  return (aftermath) => {
    const { ending, exit, reason } = aftermath.result;
    if (ending.kind !== 'timed-out' || ending.limit !== limit) return fromLine(aftermath);
    return exit === 124 ? held(`exit 124: ${reason}`) : broken(`timed out, but exit ${exit}`);
  };
}

/** By the host's own count: what a guest kernel tells its programs of their CPU time is its estimate. */
export function fromCpuShare(mostMillis: number): (aftermath: Aftermath) => Observation {
  return (aftermath) => {
    const { usage, timings } = aftermath.result;
    const wallMs = (timings['close'] ?? 0) - (timings['launch'] ?? 0);
    if (usage.cpuMs === null || wallMs <= 0) return fromLine(aftermath);
    const millis = Math.round((usage.cpuMs / wallMs) * 1000);
    return (millis > mostMillis ? through : held)(`${millis} thousandths of a core for ${Math.round(wallMs)} ms, as the host counts`);
  };
}

export function fromOutput({ result }: Aftermath): Observation {
  const { written, returned, truncated } = result.output.stdout;
  const most = result.decision.effect === 'allow' ? result.decision.limits.outputBytes : 0;
  if (returned > most) return through(`${returned} bytes came back, ${most} were allowed`);
  if (!truncated) return broken(`nothing was cut: ${written} bytes were written; ${result.reason}`);
  return held(`${written} bytes written, ${returned} returned, and said to be cut`);
}

/** When pid 1 ends, everything in the sandbox ends with it and nothing is left to report. */
export function fromInit({ line, result }: Aftermath): Observation {
  if (line !== null) return line;
  const { kind } = result.ending;
  if (kind === 'refused' || kind === 'not-started') return broken(result.reason);
  return through(`the sandbox ended: ${result.reason}`);
}

export function fromSurvivors(aftermath: Aftermath): Observation {
  const line = fromLine(aftermath);
  if (aftermath.survivors.length > 0) return through(`still running on the host: ${aftermath.survivors.join(', ')}`);
  return line.through === null ? line : held(`${line.saw}, and is gone`);
}

export function survivorsOutside({ line, survivors }: Outside): Observation {
  if (line === null) return broken('the probe reported nothing');
  return survivors.length > 0 ? through(`process ${survivors.join(', ')} was left`) : held('no process was left');
}

export function outputOutside({ stdoutBytes }: Outside): Observation {
  return stdoutBytes >= 1024 * 1024 ? through(`${stdoutBytes} bytes arrived`) : held(`${stdoutBytes} bytes arrived`);
}
