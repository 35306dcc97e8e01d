import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test, type TestContext } from 'node:test';
import { MIB } from '@caisson/contract';
import { realRuntimes, runInside, type Inside, type RealRuntime } from './inside.ts';

/** Programs that a sandbox is for. Each prints what proves that it worked. */
const PROGRAMS: readonly (readonly [needs: string, script: string, expected: string])[] = [
  ['/usr/bin/env', 'mkfifo p; (echo fifo > p & cat p); nice -n 1 sort /etc/passwd | cut -d: -f1; tar cf t.tar p && tar tf t.tar; timeout 5 setsid cat /etc/passwd | wc -l; sync', 'fifo\nagent\np\n1\n'],
  ['/usr/bin/bash', 'bash -c "cat <(echo substituted); wait"', 'substituted\n'],
  ['/usr/bin/python3', `python3 -c '
import asyncio, concurrent.futures, socket, subprocess
print(list(concurrent.futures.ProcessPoolExecutor(2).map(abs, [-1, -2])), list(concurrent.futures.ThreadPoolExecutor(2).map(abs, [-3])))
async def main():
  server = await asyncio.start_server(lambda r, w: (w.write(b"loopback"), w.close()), "127.0.0.1", 0)
  reader, _ = await asyncio.open_connection(*server.sockets[0].getsockname())
  child = await asyncio.create_subprocess_exec("echo", "child", stdout=subprocess.PIPE)
  print((await reader.read()).decode(), (await child.communicate())[0].decode().strip(), socket.if_nameindex())
asyncio.run(main())'`, "[1, 2] [3]\nloopback child [(1, 'lo')]\n"],
  ['/usr/bin/node', `node -e '
const http = require("http"), fs = require("fs"), { Worker } = require("worker_threads");
fs.watch(".").close(); fs.writeFileSync("a", "1"); fs.cpSync("a", "b");
console.log(require("child_process").execSync("cat b").toString(), Object.keys(require("os").networkInterfaces()).join());
new Worker("", { eval: true }).on("exit", (code) => {
  console.log("worker", code);
  const server = http.createServer((q, r) => r.end("served")).listen(0, "127.0.0.1", () =>
    http.get(server.address(), (r) => r.on("data", (d) => { console.log(String(d)); process.exit(); })));
});'`, '1 lo\nworker 0\nserved\n'],
  ['/usr/bin/git', 'git init -q r && cd r && echo a > a && git add a && git -c user.name=n -c user.email=e commit -qm m && git gc -q && git clone -q . ../c && git -C ../c log --format=%s', 'm\n'],
  ['/usr/bin/gcc', 'printf "#include <pthread.h>\\n#include <stdio.h>\\nvoid*f(void*a){return a;}int main(){pthread_t t;puts(pthread_create(&t,0,f,0)||pthread_join(t,0)?\\"no\\":\\"thread\\");}" > a.c && gcc -pthread a.c && ./a.out', 'thread\n'],
  ['/usr/bin/perl', `perl -MSocket -e 'socketpair(A, B, AF_UNIX, SOCK_STREAM, 0) or die; if (!fork) { syswrite A, "pair\\n"; exit } sysread B, $x, 9; wait; print $x'`, 'pair\n'],
  ['/usr/bin/curl', 'echo over-loopback > f; python3 -m http.server 8123 --bind 127.0.0.1 2>/dev/null & for i in $(seq 100); do sleep 0.2; curl -sf http://127.0.0.1:8123/f && break; done; kill $!', 'over-loopback\n'],
];

/** Calls by number on x86-64 and what they must answer, asked by Python through libc's syscall(2). */
const CALLS: readonly (readonly [what: string, number: number, args: readonly number[], answer: string])[] = [
  ['clone3', 435, [0, 0], 'ENOSYS'],
  ...[0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000].map((flag) => [`clone with ${flag.toString(16)}`, 56, [flag + 17, 0, 0, 0, 0], 'EPERM'] as const),
  ['unshare', 272, [0x10000000], 'EPERM'],
  ['setns', 308, [0, 0], 'EPERM'],
  ['mount', 165, [0, 0, 0, 0, 0], 'EPERM'],
  ['umount2', 166, [0, 0], 'EPERM'],
  ['fsopen', 430, [0, 0], 'EPERM'],
  ['pivot_root', 155, [0, 0], 'EPERM'],
  ['chroot', 161, [0], 'EPERM'],
  ['ptrace', 101, [0, 0, 0, 0], 'EPERM'],
  ['process_vm_readv', 310, [1, 0, 0, 0, 0, 0], 'EPERM'],
  ['pidfd_getfd', 438, [0, 0, 0], 'EPERM'],
  ['bpf', 321, [0, 0, 0], 'EPERM'],
  ['keyctl', 250, [0, 0], 'EPERM'],
  ['userfaultfd', 323, [1], 'EPERM'],
  ['io_uring_setup', 425, [1, 0], 'EPERM'],
  ['io_setup', 206, [1, 0], 'EPERM'],
  ['perf_event_open', 298, [0, 0, 0, 0, 0], 'EPERM'],
  ['init_module', 175, [0, 0, 0], 'EPERM'],
  ['kexec_load', 246, [0, 0, 0, 0], 'EPERM'],
  ['reboot', 169, [0, 0, 0, 0], 'EPERM'],
  ['clock_settime', 227, [0, 0], 'EPERM'],
  ['open_by_handle_at', 304, [0, 0, 0], 'EPERM'],
  ['sync', 162, [], 'EPERM'],
  ['a TCP socket', 41, [2, 1, 0], 'OK'],
  ['a netlink route socket', 41, [16, 3, 0], 'OK'],
  ['a netlink netfilter socket', 41, [16, 3, 12], 'EPERM'],
  ['a raw socket', 41, [2, 3, 255], 'EPERM'],
  ['an SCTP socket', 41, [2, 1, 132], 'EPERM'],
  ['a packet socket', 41, [17, 3, 768], 'EPERM'],
  ['a vsock socket', 41, [40, 1, 0], 'EPERM'],
  ['an alg socket', 41, [38, 5, 0], 'EPERM'],
  ['TIOCSTI', 16, [-1, 0x5412, 0], 'EPERM'],
  ['TIOCSTI with a bit set that the kernel does not read', 16, [-1, 0x5412 + 2 ** 32, 0], 'EPERM'],
  ['the ioctl next to TIOCSTI', 16, [-1, 0x5413, 0], 'EBADF'],
  ['the own limits', 302, [0, 7, 0, 0], 'OK'],
  ['the limits of pid 1 by number', 302, [1, 7, 0, 0], 'EPERM'],
  ['the own priority', 141, [0, 0, 1], 'OK'],
  ['the priority of pid 1 by number', 141, [0, 1, 1], 'EPERM'],
  ['personality, asked', 135, [0xffffffff], 'OK'],
  ['personality without randomised addresses', 135, [0x40000], 'EPERM'],
  ['seccomp with a listener', 317, [1, 8, 0], 'EPERM'],
];

const ASK = `
import ctypes, errno, json, sys
libc = ctypes.CDLL(None, use_errno=True)
def ask(number, args):
  ctypes.set_errno(0)
  result = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) for a in args])
  return 'OK' if result >= 0 else errno.errorcode[ctypes.get_errno()]
print(json.dumps([ask(n, a) for n, a in json.loads(sys.argv[1])]))`;

function skipReason(runtime: RealRuntime | null): string | null {
  if (process.getuid?.() !== 0) return 'needs root to start a runtime directly';
  return runtime === null ? 'this runtime is not installed' : null;
}

/** The runtime, or null and a skipped test. */
function started(t: TestContext, runtime: RealRuntime | null): RealRuntime | null {
  const reason = skipReason(runtime);
  if (reason === null) return runtime;
  t.skip(reason);
  return null;
}

function assertRan({ status, stdout, stderr }: Inside, expected: string): void {
  assert.deepEqual({ status, stdout }, { status: 0, stdout: expected }, stderr.slice(-2000));
}

for (const { name, found } of realRuntimes()) {
  test(`${name} starts the compiled config as uid 1000 without capabilities or a way to gain any`, (t) => {
    const runtime = started(t, found);
    if (runtime === null) return;
    const { status, stdout, stderr } = runInside(runtime, ['/bin/sh', '-c', 'id -u; id -g; grep -E "^(Cap|NoNew|Seccomp:)" /proc/self/status | tr "\\t" " "']);
    assert.equal(status, 0, stderr);
    const none = '0000000000000000';
    assert.equal(stdout, `1000\n1000\nCapInh: ${none}\nCapPrm: ${none}\nCapEff: ${none}\nCapBnd: ${none}\nCapAmb: ${none}\nNoNewPrivs: 1\nSeccomp: 2\n`);
  });

  test(`under ${name} only /workspace, /tmp and /dev/shm can be written, up to their size`, (t) => {
    const runtime = started(t, found);
    if (runtime === null) return;
    const script = 'for d in $(find / -maxdepth 3 -type d -not -path "/proc/[0-9]*" 2>/dev/null); do (: > "$d/.w") 2>/dev/null && echo "$d"; done; stat -c "%n %a" /tmp /workspace; head -c 9M /dev/zero 2>/dev/null > /tmp/big; stat -c %s /tmp/big';
    const { stdout } = runInside(runtime, ['/bin/sh', '-c', script], { memoryBytes: 256 * MIB, tmpBytes: 4 * MIB });
    assert.deepEqual(stdout.trim().split('\n').toSorted(), ['/dev/shm', '/tmp', '/tmp 1777', '/workspace', '/workspace 700', String(4 * MIB)].toSorted());
  });

  test(`under ${name} the calls of the filter answer as it says`, (t) => {
    const runtime = started(t, found);
    if (runtime === null) return;
    if (process.arch !== 'x64' || !existsSync('/usr/bin/python3')) return t.skip('needs x86-64 and /usr/bin/python3');
    const { status, stdout, stderr } = runInside(runtime, ['/usr/bin/python3', '-c', ASK, JSON.stringify(CALLS.map(([, number, args]) => [number, args]))]);
    assert.equal(status, 0, stderr);
    const answers = JSON.parse(stdout) as string[];
    assert.deepEqual(CALLS.map(([what], index) => `${what}: ${answers[index]}`), CALLS.map(([what, , , answer]) => `${what}: ${answer}`));
  });

  test(`under ${name} more processes than the limit cannot be made, and the others live on`, (t) => {
    const runtime = started(t, found);
    if (runtime === null) return;
    const { status, stdout, stderr } = runInside(runtime, ['/bin/sh', '-c', 'f() { f | f & }; (f) 2>/dev/null; sleep 1; echo alive'], { pids: 20 });
    assert.equal(status, 0, stderr.slice(-500));
    assert.equal(stdout, 'alive\n');
  });

  for (const [program, script, expected] of PROGRAMS) {
    test(`under ${name} ${program} works`, (t) => {
      const runtime = started(t, found);
      if (runtime === null) return;
      if (!existsSync(program)) return t.skip(`${program} is not installed`);
      assertRan(runInside(runtime, ['/bin/sh', '-c', script], { memoryBytes: 1024 * MIB, pids: 100 }), expected);
    });
  }
}
