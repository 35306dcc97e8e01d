import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer as createHttp, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer, connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { after, before } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Sandbox, type ConnectionOptions, type CreateRequest, type WithRules } from '@caisson/sdk';
import { IS_ROOT, NEEDS_ROOT, startCaisson, type Caisson } from '../harness.ts';

/** Option of a test that needs sandboxes. */
export const REAL: { readonly skip: string | false } = { skip: IS_ROOT ? false : NEEDS_ROOT };

export interface Real {
  readonly caisson: Caisson;
  readonly connection: ConnectionOptions;
  create(options?: WithRules<CreateRequest>): Promise<Sandbox>;
}

/** One whole Caisson for the tests of a file, started before the first of them. */
export function realCaisson(): () => Real {
  const held: { caisson: Caisson | null } = { caisson: null };
  before(async () => {
    if (IS_ROOT) held.caisson = await startCaisson();
  });
  after(async () => {
    await held.caisson?.[Symbol.asyncDispose]();
  });
  return () => {
    const { caisson } = held;
    if (caisson === null) throw new Error('Caisson was not started');
    const connection = { socket: caisson.paths.apiSocket };
    return { caisson, connection, create: (options) => Sandbox.create(options, { connection }) };
  };
}

export interface Place extends AsyncDisposable {
  readonly connection: ConnectionOptions;
}

export interface Impostor extends Place {
  /** A sandbox that is only said to be there. */
  readonly box: Sandbox;
}

const SAID = { id: 'sbx-0000000000000000', name: null };

/** Something that answers HTTP in Caisson's place, for what Caisson itself never says. */
export async function answering(handle: (request: IncomingMessage, response: ServerResponse) => void, reconnectMs = 1_000): Promise<Impostor> {
  const { dir, socket } = socketPlace();
  const server = createHttp((request, response) => {
    if (request.method === 'GET' && request.url === `/v1/sandboxes/${SAID.id}`) response.end(JSON.stringify(SAID));
    else handle(request, response);
  });
  server.listen(socket);
  await once(server, 'listening');
  const connection = { socket, reconnectMs };
  return {
    connection,
    box: await Sandbox.connect(SAID.id, { connection }),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** A way to Caisson that breaks: each connection ends after as many bytes towards the client as `budget` says. */
export interface Breaking extends Place {
  /** Connections that were broken. */
  broken(): number;
  /** Breaks all, and answers nothing for so long. Resolves when it answers again. */
  away(forMs: number): Promise<void>;
}

export async function breakingWay(to: string, budget: () => number): Promise<Breaking> {
  const { dir, socket } = socketPlace();
  let broken = 0;
  let closed = false;
  const open = new Set<Socket>();
  const server = createServer((near) => {
    const far = connect(to);
    let left = budget();
    for (const one of [near, far]) {
      open.add(one);
      one.on('error', () => undefined);
      one.on('close', () => (open.delete(one), near.destroy(), far.destroy()));
    }
    near.on('data', (chunk) => void far.write(chunk));
    far.on('data', (chunk: Buffer) => {
      const part = chunk.subarray(0, left);
      left -= part.length;
      if (left > 0) return void near.write(part);
      broken++;
      near.write(part, () => near.destroy());
      far.destroy();
    });
  });
  server.listen(socket);
  await once(server, 'listening');
  return {
    connection: { socket },
    broken: () => broken,
    async away(forMs) {
      server.close();
      for (const one of open) one.destroy();
      await delay(forMs);
      if (closed) return;
      server.listen(socket);
      await once(server, 'listening');
    },
    async [Symbol.asyncDispose]() {
      closed = true;
      for (const one of open) one.destroy();
      if (server.listening) {
        server.close();
        await once(server, 'close');
      }
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

function socketPlace(): { readonly dir: string; readonly socket: string } {
  const dir = mkdtempSync(`${tmpdir()}/caisson-sdk-`);
  return { dir, socket: `${dir}/api.sock` };
}
