import type { Socket } from 'node:net';
import type { EgressDenied } from '@caisson/contract';
import type { OpenConnection } from './admitted.ts';
import { holding } from './approvals.ts';
import type { Call } from './call.ts';
import { denial } from './denial.ts';
import type { Layer } from './layers.ts';

/** Bytes that a client may say before it is decided. With more it is not listened to, and that it goes away is not noticed. */
const EARLY_BYTES = 65_536;

/** What a client has said by the time it may go on, and by whose decision it does; null: nothing held it. */
export type Released = { readonly head: Buffer; readonly approval: string | null } | { readonly denied: EgressDenied };

/** Holds a connection that only rules with `hold` allow until it is decided. Nothing has been said to its client, nor left. */
export async function hold({ admitted, client, host, port, head }: Call, connection: OpenConnection, layers: readonly Layer[]): Promise<Released> {
  if (holding(layers).length === 0) return { head, approval: null };
  const rules = admitted.layers;
  const heard = listen(client);
  connection.isHeld = true;
  try {
    const verdict = await admitted.approvals.ask({ host, port, method: null, path: null }, layers, { holdMs: admitted.policy.holdMs, client });
    if (verdict === null || admitted.layers !== rules) return { denied: denial('the rules were changed while it was decided', 'the same again') };
    if ('effect' in verdict) return { denied: verdict };
    connection.approvedAs = verdict.key;
    return { head: Buffer.concat([head, heard.stop()]), approval: verdict.approval };
  } finally {
    heard.stop();
    connection.isHeld = false;
  }
}

/** Takes what a client says while it waits. One that ends its half has gone: half a client cannot be told from none. */
function listen(client: Socket): { stop(): Buffer } {
  const pieces: Buffer[] = [];
  let bytes = 0;
  const take = (piece: Buffer): void => {
    pieces.push(piece);
    bytes += piece.length;
    if (bytes > EARLY_BYTES) client.pause();
  };
  const gone = (): void => void client.destroy();
  client.on('data', take).once('end', gone);
  client.resume();
  return {
    stop() {
      client.off('data', take).off('end', gone);
      client.pause();
      return Buffer.concat(pieces);
    },
  };
}
