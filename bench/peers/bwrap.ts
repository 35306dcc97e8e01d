import { runProgram, which, type Peer } from './peer.ts';

export const BWRAP: Peer = {
  name: 'bwrap',
  async open({ rootfs }) {
    const path = await which('bwrap');
    if (path === undefined) return 'bwrap is not here: apt-get install bubblewrap';
    const run = [path, '--unshare-all', '--die-with-parent', '--new-session', '--cap-drop', 'ALL', '--ro-bind', rootfs, '/', '--proc', '/proc', '/true'];
    const { status, stderr } = await runProgram(run);
    if (status !== 0) return `bwrap does not run here: ${stderr.trim()}`;
    return { run, [Symbol.asyncDispose]: () => Promise.resolve() };
  },
};
