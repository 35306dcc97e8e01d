import { constants, openSync } from 'node:fs';
import { resolve } from 'node:path';
import { CaissonError, problemOf, statePaths } from '@caisson/contract';
import { logSigner } from '@caisson/evidence';
import { fileWrap } from '@caisson/sealing';
import { watchAlarms } from './alarms.ts';
import { boundOf, openArchiver, readArchive } from './archiver.ts';
import { openControl } from './control.ts';
import { openFeeder, readFeeding } from './feeder.ts';
import { openGate } from './gate.ts';
import { identities, self } from './identity.ts';
import { openLauncher } from './launcher.ts';
import { dropTo, live, log, type Word } from './lifetime.ts';
import { openMirror } from './mirror.ts';
import { mirrorTrouble } from './mirror-status.ts';
import { readPolicy } from './policy.ts';
import { runScribe } from './scribe.ts';
import { AGAIN, Supervisor } from './supervisor.ts';
import { openVault } from './vault.ts';

const home = process.env['CAISSON_HOME'] ?? resolve(import.meta.dirname, '../../..');
const paths = statePaths({ env: process.env, uid: self().uid, resolve });

process.umask(process.umask() | 0o022); // whatever the umask of who starts Caisson: nobody else writes what it makes

/** When the supervisor dies, control cancels its calls and puts that on record: the scribe waits for it. */
const LAST_WORDS_MS = 1_000;

/**
 * The scribe's uid need not be able to pass through the folders above the evidence: it works from inside. The key of the log and
 * the one that wraps those of the ring are read before rights are dropped: under root nobody but root can read their files, the
 * scribe only has them in memory.
 */
async function openScribe(): Promise<AsyncDisposable> {
  const signer = await logSigner(paths.evidence);
  const wrap = await fileWrap(paths.ringWrap);
  const ring = fromInside(paths.ring);
  const archive = readArchive(paths);
  const isMirrored = readPolicy(paths, home).value.auditMirror === true;
  const isFollowed = archive !== null || readFeeding(paths) !== null || isMirrored;
  process.chdir(paths.evidence);
  const { scribe, archiver } = identities(paths.dir, self());
  dropTo(scribe, isFollowed ? [archiver.gid] : []);
  return runScribe({ ...paths, evidence: '.', ring }, {
    peerGroup: scribe.gid,
    signer,
    wrap,
    groupReads: isFollowed,
    mayAppend: archive === null ? undefined : boundOf(archive),
    own: isFollowed ? (evidence) => watchAlarms(evidence, isMirrored ? mirrorTrouble(paths.mirrorStatus) : null) : undefined,
    isPatient: process.argv[3] === AGAIN,
  });
}

/** A path to a folder by a descriptor, which is open as long as the process lives: a way past the folders above it (proc_pid_fd(5)). */
function fromInside(path: string): string {
  return `/proc/self/fd/${openSync(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW)}/.`;
}

async function supervise(): Promise<void> {
  const say = (word: Word): void => void (process.connected && process.send?.(word));
  const signalled = new Promise<void>((done) => {
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.once(signal, () => done());
  });
  const supervisor = new Supervisor(paths, import.meta.filename, home);
  try {
    await supervisor.start();
  } catch (error) {
    say({ problem: problemOf(error) });
    log('failed', { message: problemOf(error).message });
    process.exit(1);
  }
  say({ ready: true });
  await Promise.race([signalled, supervisor.asked]);
  await supervisor[Symbol.asyncDispose]();
  process.exit();
}

switch (process.argv[2]) {
  case 'supervisor': await supervise(); break;
  case 'control': await live(() => openControl(paths, home)); break;
  case 'launcher': await live(() => openLauncher(paths, home)); break;
  case 'vault': await live(() => openVault(paths, home)); break;
  case 'gate': await live(() => openGate(paths)); break;
  case 'archiver': await live(() => openArchiver(paths)); break;
  case 'mirror': await live(() => openMirror(paths)); break;
  case 'feeder': await live(() => openFeeder(paths)); break;
  case 'scribe': await live(openScribe, { orphanedMs: LAST_WORDS_MS }); break;
  default: throw new CaissonError('USAGE', { detail: `no process is called ${process.argv[2] ?? ''}` });
}
