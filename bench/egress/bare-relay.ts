/** The least that a relay in Node can be, beside which the gate is measured: bare-relay.ts PORT HOST HOST-PORT. */
import { connect, createServer } from 'node:net';

const [port, host, to] = process.argv.slice(2);
createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true }, (client) => {
  const upstream = connect({ host: host ?? '', port: Number(to), allowHalfOpen: true, noDelay: true });
  for (const [from, end] of [[client, upstream], [upstream, client]] as const) {
    from.on('error', () => end.destroy());
    from.pipe(end);
  }
}).listen(Number(port), '0.0.0.0', () => void process.stdout.write('ready\n'));
process.stdin.resume().once('end', () => process.exit(0));
