import { spawn } from 'node:child_process';
import { CaissonError } from '@caisson/contract';
import { filesHelper } from '@caisson/files';
import type { KeeperExtras } from '@caisson/runtime';
import { log } from './lifetime.ts';

/**
 * Has a connection carried on by a helper of its own that sees one workspace as the sandbox's own user and nothing else.
 * It lives as long as the connection and the sandbox do, and it is in no sandbox: a paused one is no obstacle.
 */
export function handOverFiles(binary: string): KeeperExtras['files'] {
  return async (kept, take) => {
    if (kept.workspace === null) throw new CaissonError('INTERNAL', { detail: 'a sandbox without a workspace' });
    const { path, uid } = kept.workspace;
    const [command = '', ...rest] = filesHelper({ binary, root: path, uid, gid: uid }).argv;
    const socket = take();
    try {
      const helper = spawn(command, rest, { stdio: [socket, 'ignore', 'inherit'], env: {} });
      const gone = new Promise<void>((resolve) => {
        helper.once('exit', () => resolve());
        helper.once('error', () => resolve()); // it could not be started: no exit follows
      });
      helper.on('error', (error) => log('files helper failed', { message: error.message }));
      helper.on('exit', (code, signal) => code !== 0 && signal !== 'SIGKILL' && log('files helper ended', { how: `${signal ?? code}` }));
      const release = kept.use(async () => {
        helper.kill('SIGKILL');
        await gone;
      });
      void gone.then(release);
    } finally {
      socket.destroy(); // the helper has a descriptor of its own
    }
  };
}
