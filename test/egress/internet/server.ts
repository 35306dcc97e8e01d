/**
 * The servers of the fake Internet, as one program. wire.py starts it, with a folder (the authority, and the log) and three
 * descriptors: TCP listeners for IPv4 and IPv6, and the channel of datagrams. On stdin it takes orders, one JSON value per
 * line, and says on stdout when each is done. It ends when stdin does, so never outlives the test.
 */
import { appendFileSync, openSync } from 'node:fs';
import { createServer, Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { openCertificates, type Presented } from './certificates.ts';
import { questionOf, replyTo, type Answer, type Zone } from './dns.ts';
import type { Ends, Line } from './log.ts';
import { serve } from './streams.ts';
import type { World } from './world.ts';

export type Order =
  | { readonly type: 'flush' }
  | { readonly type: 'zone'; readonly name: string; readonly answers: readonly Answer[] | null }
  | { readonly type: 'present'; readonly name: string; readonly how: Presented };

const address = (text = ''): string => text.replace(/^::ffff:(?=\d+\.)/, '');

function startServers(dir: string, [tcp4, tcp6, channelFd]: readonly number[]): void {
  const log = openSync(`${dir}/log.jsonl`, 'a');
  const write = (line: Line): void => appendFileSync(log, `${JSON.stringify(line)}\n`);
  const zone: Zone = new Map();
  const asked = new Map<string, number>();
  const certificates = openCertificates(dir);
  const ids = counter();
  const waiting = new Map<number, () => void>();

  const resolve: World['resolve'] = async (message, { ends, transport }) => {
    const question = questionOf(message);
    if (question === undefined) return undefined;
    const { name, type } = question;
    write({ kind: 'query', query: { transport, name, type, ...ends } });
    const answers = zone.get(name.toLowerCase()) ?? [{ code: 'nxdomain' as const }];
    const turn = asked.get(`${name.toLowerCase()} ${type}`) ?? 0;
    asked.set(`${name.toLowerCase()} ${type}`, turn + 1);
    const answer = answers[Math.min(turn, answers.length - 1)] ?? { code: 'nxdomain' };
    if (answer.delayMs !== undefined) await delay(answer.delayMs);
    return replyTo(question, answer, { zone, isDatagram: transport === 'udp' });
  };
  const world: World = { certificates, write, nextId: ids, resolve };

  for (const fd of [tcp4, tcp6]) {
    const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
      const id = ids();
      const ends: Ends = {
        source: address(socket.remoteAddress), sourcePort: socket.remotePort ?? 0,
        destination: address(socket.localAddress), destinationPort: socket.localPort ?? 0,
      };
      write({ kind: 'open', id, ends });
      socket.once('close', () => write({ kind: 'close', id }));
      serve(socket, { id, ends, servername: null }, world);
    });
    server.listen({ fd });
  }

  const channel = new Socket({ fd: channelFd ?? -1, readable: true, writable: true });
  const send = (value: object): void => void channel.write(`${JSON.stringify(value)}\n`);
  createInterface({ input: channel }).on('line', (text) => {
    const line = JSON.parse(text) as { readonly flushed: number } | (Ends & { readonly hex: string });
    if ('flushed' in line) return waiting.get(line.flushed)?.();
    const { hex, ...ends } = line;
    const bytes = Buffer.from(hex, 'hex');
    write({ kind: 'datagram', base64: bytes.toString('base64'), ends });
    const { source, sourcePort, destination, destinationPort } = ends;
    const back = { source: destination, sourcePort: destinationPort, destination: source, destinationPort: sourcePort };
    if (destinationPort !== 53) return send({ ...back, hex });
    void resolve(bytes, { ends, transport: 'udp' }).then((reply) => {
      if (reply !== undefined) send({ ...back, hex: reply.toString('hex') });
    });
  });
  channel.once('close', () => process.exit(1));

  const obey = async (order: Order): Promise<void> => {
    switch (order.type) {
      case 'flush': {
        const number = ids();
        await new Promise<void>((done) => {
          waiting.set(number, done);
          send({ flush: number });
        });
        waiting.delete(number);
        return;
      }
      case 'zone':
        for (const key of asked.keys()) if (key.startsWith(`${order.name} `)) asked.delete(key);
        return void (order.answers === null ? zone.delete(order.name) : zone.set(order.name, order.answers));
      case 'present': return certificates.present(order.name, order.how);
    }
  };
  createInterface({ input: process.stdin }).on('line', (text) => {
    const { id, ...order } = JSON.parse(text) as Order & { readonly id: number };
    void obey(order).then(() => process.stdout.write(`${JSON.stringify({ id })}\n`));
  }).once('close', () => process.exit(0));
  process.stdout.write(`${JSON.stringify({ id: 0 })}\n`);
}

function counter(): () => number {
  let last = 0;
  return () => ++last;
}

// Node writes to a TLS connection over a stream of JavaScript that its client has left, and takes that for a fault of its own
// (`JSStreamSocket.doWrite`). The connection is gone anyway; any other fault ends this program, and with it the test.
process.on('uncaughtException', (error: NodeJS.ErrnoException) => {
  if (error.code === 'ERR_INTERNAL_ASSERTION' && error.stack?.includes('js_stream_socket') === true) return;
  process.stderr.write(`${error.stack ?? error.message}\n`);
  process.exit(1);
});

const [dir = '', ...descriptors] = process.argv.slice(2);
startServers(dir, descriptors.map(Number));
