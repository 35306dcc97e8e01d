import { setTimeout as delay } from 'node:timers/promises';

/** Where a process of Node answers its inspector once it has been asked by SIGUSR1; one process at a time. */
const INSPECTOR = 'http://127.0.0.1:9229/json/list';
const PATIENCE_MS = 10_000;

/**
 * Bytes of the heap and of buffers outside it that a process of Node still reaches. Opens the inspector of a process of our
 * own for a moment: whoever can connect to it then can do all that the process can.
 */
export async function liveBytes(pid: number): Promise<number> {
  process.kill(pid, 'SIGUSR1');
  const socket = new WebSocket(await inspectorUrl());
  await new Promise((done, failed) => {
    socket.addEventListener('open', done, { once: true });
    socket.addEventListener('error', () => failed(new Error('the inspector cannot be reached')), { once: true });
  });
  const ask = asker(socket);
  try {
    if ((await ask.evaluate('process.pid')) !== pid) throw new Error(`another process than ${pid} holds the inspector's port`);
    for (let round = 0; round < 3; round++) await ask.call('HeapProfiler.collectGarbage');
    const { heapUsed, external } = JSON.parse(String(await ask.evaluate('JSON.stringify(process.memoryUsage())'))) as { readonly heapUsed: number; readonly external: number };
    return heapUsed + external;
  } finally {
    // The answer to closing does not come: the connection ends with the inspector.
    void ask.evaluate('setImmediate(() => process.getBuiltinModule("node:inspector").close())').catch(() => undefined);
    await new Promise((done) => socket.addEventListener('close', done, { once: true }));
  }
}

async function inspectorUrl(): Promise<string> {
  for (const untilMs = Date.now() + PATIENCE_MS; ; await delay(20)) {
    try {
      const [target] = (await (await fetch(INSPECTOR)).json()) as readonly { readonly webSocketDebuggerUrl: string }[];
      if (target !== undefined) return target.webSocketDebuggerUrl;
    } catch (error) {
      if (Date.now() > untilMs) throw error;
    }
  }
}

interface Asker {
  call(method: string, params?: object): Promise<unknown>;
  evaluate(expression: string): Promise<unknown>;
}

function asker(socket: WebSocket): Asker {
  const waiting = new Map<number, PromiseWithResolvers<unknown>>();
  let next = 0;
  socket.addEventListener('message', ({ data }) => {
    const { id, result } = JSON.parse(String(data)) as { readonly id?: number; readonly result?: unknown };
    if (id !== undefined) waiting.get(id)?.resolve(result);
  });
  socket.addEventListener('close', () => {
    for (const { reject } of waiting.values()) reject(new Error('the inspector is closed'));
  });
  const call = (method: string, params: object = {}): Promise<unknown> => {
    const answer = Promise.withResolvers<unknown>();
    const id = next++;
    waiting.set(id, answer);
    socket.send(JSON.stringify({ id, method, params }));
    return answer.promise.finally(() => waiting.delete(id));
  };
  const evaluate = async (expression: string): Promise<unknown> => {
    const { result } = (await call('Runtime.evaluate', { expression, returnByValue: true })) as { readonly result: { readonly value?: unknown } };
    return result.value;
  };
  return { call, evaluate };
}
