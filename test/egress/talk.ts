import assert from 'node:assert/strict';
import type { Box } from './given.ts';

export const PUBLIC = '93.184.216.34';
const OVER = '/tmp/over';
/** How long a talk goes on at most that is not told that it is over. */
const MOST_SECONDS = 60;
/** Sends a line each tenth of a second over a connection that it keeps, and over a new one each time, and tries what is not allowed. */
export const TALK = `
import os, socket, sys, time
end, most, kept, went = *(time.monotonic() + float(seconds) for seconds in sys.argv[1:3]), None, {"kept": 0, "ended": 0, "new": 0, "no": 0, "refused": 0}
host = socket.gethostbyname("example.test") # it stands for the name as long as the sandbox lives
try:
    socket.gethostbyname("evil.test")
    print("evil.test has an address")
except OSError:
    pass
def open(host=host, port=7):
    out = socket.create_connection((host, port), 1)
    out.settimeout(1)
    return out
def echo(out, text):
    out.sendall(text)
    if out.recv(100) != text: raise OSError("ended")
while time.monotonic() < end or time.monotonic() < most and not os.path.exists("${OVER}"):
    try:
        kept = kept or open()
        echo(kept, b"kept")
        went["kept"] += 1
    except OSError:
        went["ended"] += 1
        kept = None
    try:
        with open() as out: echo(out, b"new")
        went["new"] += 1
    except OSError:
        went["no"] += 1
    for to, port in ((host, 8), ("198.18.77.7", 7), ("${PUBLIC}", 7)):
        try:
            with open(to, port) as out: echo(out, b"evil")
            print("reached", to, port)
        except OSError:
            went["refused"] += 1
    time.sleep(0.1)
print(*went.values())
`;

export interface Went {
  readonly kept: number;
  readonly ended: number;
  readonly made: number;
  readonly refused: number;
}

export const talk = async (box: Pick<Box, 'python'>, seconds: number): Promise<Went> => wentIn(await box.python(TALK, `${seconds}`, `${seconds}`));

/** A talk of these seconds at least, that goes on until the answer is called, which says how it went. */
export function talkOn(box: Pick<Box, 'python'>, seconds: number): () => Promise<Went> {
  const talking = box.python(TALK, `${seconds}`, `${MOST_SECONDS}`);
  return async () => {
    await box.python(`open("${OVER}", "w")`);
    return wentIn(await talking);
  };
}

function wentIn(lines: readonly string[]): Went {
  assert.equal(lines.length, 1, lines.join('\n'));
  const [kept = 0, ended = 0, made = 0, , refused = 0] = (lines[0] ?? '').split(' ').map(Number);
  return { kept, ended, made, refused };
}
