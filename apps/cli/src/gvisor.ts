import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';

/** While the checkout's first start still builds gVisor in the background, waits for it and says so on stderr. */
export async function waitForGvisor(home: string): Promise<void> {
  if (!existsSync(`${home}/build/native/runsc.building`)) return;
  const builder = spawn('sh', [`${home}/tools/gvisor.sh`, 'wait'], { stdio: ['ignore', 'ignore', 'inherit'], env: { ...process.env, CAISSON_HOME: home } });
  await new Promise<void>((resolve) => builder.once('close', () => resolve()).once('error', () => resolve()));
}
