import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runProgram, which, type Peer } from './peer.ts';

const PACKAGE = '@anthropic-ai/sandbox-runtime@0.0.83';
const DENY_ALL = { network: { allowedDomains: [], deniedDomains: [] }, filesystem: { denyRead: [], allowWrite: [], denyWrite: [] } };

export const SRT: Peer = {
  name: 'srt',
  async open({ root, scratch }) {
    for (const [program, debian] of [['bwrap', 'bubblewrap'], ['socat', 'socat'], ['rg', 'ripgrep']] as const) {
      if ((await which(program)) === undefined) return `srt needs ${program}: apt-get install ${debian}`;
    }
    const folder = join(root, 'build/peers');
    const cli = join(folder, 'node_modules/@anthropic-ai/sandbox-runtime/dist/cli.js');
    if (!existsSync(cli)) {
      const { status, stderr } = await runProgram(
        ['npm', 'install', '--prefix', folder, '--no-save', '--no-package-lock', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error', PACKAGE]);
      if (status !== 0) return `srt cannot be installed: ${stderr.trim()}`;
    }
    const settings = join(scratch, 'settings.json');
    await writeFile(settings, JSON.stringify(DENY_ALL));
    const run = [process.execPath, cli, '--settings', settings, '/bin/true'];
    const { status, stderr } = await runProgram(run);
    if (status !== 0) return `srt does not run here: ${stderr.trim()}`;
    return { run, [Symbol.asyncDispose]: () => Promise.resolve() };
  },
};
