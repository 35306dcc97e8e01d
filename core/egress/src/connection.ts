import type { EgressDenied } from '@caisson/contract';
import type { OpenConnection } from './admitted.ts';
import type { Call, GateRooms } from './call.ts';
import { ClientHelloReader, type HelloState } from './client-hello.ts';
import { decideConnection, type ConnectionAllowed } from './decide.ts';
import { denial } from './denial.ts';
import { dial } from './dial.ts';
import { facts } from './facts.ts';
import { readFirst } from './first-bytes.ts';
import { canonicalHost } from './host.ts';
import { endTls } from './intercept.ts';
import { hold } from './hold.ts';
import { relay } from './relay.ts';

/**
 * One connection, start to end: decide → count → wait where it is held → look at the server name → resolve and check → put on record → connect to
 * the address that was checked → relay → put on record what passed. Nothing leaves before the record is durable.
 */
export async function serveCall(call: Call, rooms: GateRooms): Promise<void> {
  const { admitted, host, port, client } = call;
  const decision = decideConnection(admitted.layers, { host, port });
  if (decision.effect === 'deny') return refuse(call, decision);
  const tooMany = admitted.tooMany();
  if (tooMany !== null) return refuse(call, denial(tooMany, 'fewer connections at once'));
  if (decision.protocol === 'http') return rooms.serveHttp(call);
  if (decision.protocol === 'https') return intercept(call, decision, rooms);

  const { denied, audit } = admitted.meter.open(decision.layers, rooms.nowMs());
  if (denied !== null) return refuse(call, denied);
  const cutting = new AbortController();
  const connection: OpenConnection = {
    id: rooms.nextId(), protocol: decision.protocol, layers: decision.layers, host, port, startedMs: rooms.wallMs(), leases: new Set(), bytes: { out: 0, in: 0 },
    cut: (why) => cutting.abort(new Error(why)),
  };
  admitted.connections.set(connection.id, connection);
  const drop = (): void => void client.resetAndDestroy();
  cutting.signal.addEventListener('abort', drop, { once: true });
  try {
    await carry({ call, decision, connection, audit: decision.audit ?? audit, signal: cutting.signal }, rooms);
  } catch {
    client.destroy(); // without a record nothing goes on
  } finally {
    admitted.connections.delete(connection.id);
  }
}

/** Ends the TLS of a connection whose requests are decided, each for itself. The name of its server is that of the rule, as for any other. */
async function intercept(call: Call, { rule, host }: ConnectionAllowed, rooms: GateRooms): Promise<void> {
  const { admitted, client, port } = call;
  const { certificates } = admitted;
  if (certificates?.certifies(host) !== true) return refuse(call, denial(`this sandbox trusts no certificate of the gate for ${host}`, 'a new sandbox with this rule', rule));
  call.accept();
  const hello = await readHello(call, { mayHide: true }); // the gate is the server here, and goes by the name that it can read
  if ('gone' in hello) return void client.destroy();
  if ('refused' in hello) return refuseHello(call, hello.refused, rule);
  const ended = await endTls({ client, host }, certificates, hello.bytes);
  if ('client' in ended) return rooms.serveHttps({ admitted, client: ended.client, host, port });
  admitted.refuse({ what: 'connection', to: `${host}:${port}`, rule, reason: ended.failed, wouldAllow: 'a client that trusts /etc/caisson/ca-bundle.crt' });
  client.destroy();
}

function refuseHello({ admitted, client, host, port }: Call, reason: string, rule: string): void {
  admitted.refuse({ what: 'connection', to: `${host}:${port}`, rule, reason, wouldAllow: `a TLS connection whose server name is ${host}` });
  client.end(ALERT_ACCESS_DENIED, () => client.destroy());
}

interface Carried {
  readonly call: Call;
  readonly decision: ConnectionAllowed;
  readonly connection: OpenConnection;
  readonly audit: EgressDenied | null;
  readonly signal: AbortSignal;
}

async function carry({ call: came, decision, connection, audit, signal }: Carried, rooms: GateRooms): Promise<void> {
  const { admitted, client, host, port } = came;
  const released = await hold(came, connection, decision.layers);
  if ('denied' in released) return refuse(came, released.denied);
  const { head, approval } = released;
  const call = { ...came, head };
  // A TLS client speaks when it is told to go on; from then on nothing but an end can be said to it.
  const isAccepted = decision.protocol === 'tls';
  if (isAccepted) call.accept();
  const { deny, fail } = isAccepted ? { deny: () => client.resetAndDestroy(), fail: () => client.resetAndDestroy() } : call;
  const hello = isAccepted ? await readHello(call) : { bytes: call.head };
  if ('gone' in hello) return void client.destroy();
  if ('refused' in hello) return refuseHello(call, hello.refused, decision.rule);

  const resolved = await rooms.resolve(host, admitted.policy, admitted.sandbox);
  if ('refused' in resolved) return refuse({ ...call, deny }, denial(resolved.refused, 'network.unsafeAllowPrivate in the policy file', decision.rule));
  if ('failed' in resolved) {
    await admitted.record({ event: 'not-connected', connection: connection.id, host, port, detail: resolved.failed.slice(0, 256) });
    return void fail(resolved.failed);
  }
  const [first] = resolved.addresses;
  await admitted.record({ event: 'connect', connection: connection.id, host, port, ...facts(decision, first, audit), ...(approval !== null && { approval }) });

  const dialled = await dial(resolved.addresses, port, signal);
  if ('failed' in dialled) {
    await admitted.record({ event: 'not-connected', connection: connection.id, host, port, detail: dialled.failed.slice(0, 256) });
    return void fail(dialled.failed);
  }
  const { socket: upstream, to } = dialled;
  signal.addEventListener('abort', () => upstream.destroy(), { once: true });
  if (signal.aborted) upstream.destroy();
  else if (!isAccepted) call.accept();
  const { bytes } = connection;
  let cutBy: string | null = null;
  await relay({
    client, upstream, head: hello.bytes, turn: admitted.turn,
    pass(direction, count) {
      const over = admitted.meter.pass(connection.layers, count).denied;
      if (over !== null) {
        cutBy = over.reason;
        admitted.refuse({ what: 'connection', to: `${host}:${port}`, rule: over.rule, reason: over.reason, wouldAllow: over.wouldAllow });
        return false;
      }
      bytes[direction] += count;
      return true;
    },
  });
  admitted.passed.connections += 1;
  admitted.passed.out += bytes.out;
  admitted.passed.in += bytes.in;
  if (signal.aborted) cutBy = (signal.reason as Error).message;
  await admitted.record({ event: 'closed', connection: connection.id, address: to.address, bytesOut: bytes.out, bytesIn: bytes.in, cut: cutBy });
}

/** TLS 1.2 record of a fatal alert access_denied, which clients of 1.3 read too (RFC 8446 §6.2, §5.1). */
const ALERT_ACCESS_DENIED = Buffer.from([0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 49]);

async function readHello({ client, head, host }: Call, { mayHide = false } = {}): Promise<{ readonly bytes: Buffer } | { readonly refused: string } | { readonly gone: string }> {
  const reader = new ClientHelloReader();
  const first = await readFirst<Exclude<HelloState, { need: 'more' }>>(client, head, (piece) => {
    const state = reader.push(piece);
    return 'need' in state ? null : state;
  });
  if ('gone' in first) return first;
  if ('refused' in first.value) return { refused: `what came is no ClientHello of TLS: ${first.value.refused}` };
  const { serverName, ech } = first.value.hello;
  if (serverName === null) return { refused: 'the TLS connection names no server' };
  const named = canonicalHost(serverName);
  if ('refused' in named || named.host !== host) return { refused: `the TLS connection names the server ${serverName} and not ${host}` };
  // What is encrypted for the server may name another host, which the same servers may serve.
  return ech && !mayHide ? { refused: 'the TLS connection hides the name of its server (ECH)' } : { bytes: first.bytes };
}

function refuse(call: Call, denied: EgressDenied): void {
  const { rule, reason, wouldAllow } = denied;
  call.admitted.refuse({ what: 'connection', to: `${call.host}:${call.port}`, rule, reason, wouldAllow });
  call.deny(denied);
}
