import type { Limits, RunRequest } from '@caisson/contract';
import type { Exec, ExecReport, Machine } from '@caisson/runtime';
import type { Output } from './output.ts';
import type { Client } from './rooms.ts';

interface Streamed {
  readonly request: RunRequest;
  /** Environment that it has beside its own. */
  readonly env: Readonly<Record<string, string>>;
  readonly limits: Limits;
  readonly client: Client;
  readonly output: Output;
}

/** Runs the command and passes its streams on until it has ended. */
export async function stream({ request, env, limits, client, output }: Streamed, machine: Machine): Promise<ExecReport> {
  const stdin = request.stdin === true;
  const exec = machine.spawn(
    {
      argv: request.argv,
      env: environment(env, request.env ?? {}),
      cwd: request.cwd ?? '/workspace',
      stdin,
      outputBytes: limits.outputBytes,
    },
    { onOutput: (name, bytes) => output.write(name, bytes) },
  );
  const close = (): void => void machine.close().catch(() => undefined);
  client.signal.addEventListener('abort', close, { once: true });
  if (client.signal.aborted) close();
  try {
    if (stdin) void feed(client, exec, output);
    return await exec.done;
  } finally {
    client.signal.removeEventListener('abort', close);
  }
}

async function feed(client: Client, exec: Exec, output: Output): Promise<void> {
  for await (const bytes of client.stdin) {
    output.take(bytes);
    await exec.writeStdin(bytes);
  }
  await exec.endStdin();
}

/** The whole environment of a command, later layers over earlier ones: nothing of the host's is inherited. */
export function environment(...layers: readonly Readonly<Record<string, string>>[]): readonly string[] {
  const base = {
    PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    HOME: '/workspace',
    USER: 'agent',
    LOGNAME: 'agent',
    LANG: 'C.UTF-8',
    TMPDIR: '/tmp',
    SHELL: '/bin/sh',
  };
  return Object.entries(Object.assign({}, base, ...layers) as Record<string, string>).map(([name, value]) => `${name}=${value}`);
}
