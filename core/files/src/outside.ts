import type { Connection } from './connection.ts';
import { statOrNull } from './verbs.ts';

const WORKSPACE = 'workspace';
const SLASH = 0x2f;
/** Names that are looked at: a sandbox makes its links as long and as many as it likes. */
const NAMES_MOST = 256;

/**
 * Whether links lead a path out of /workspace. The helper cannot tell: in its root there is nothing else, so that what is
 * elsewhere is not there. This explains a failure and decides nothing; links may have changed since.
 */
export async function leadsOutside(connection: Connection, path: Buffer): Promise<boolean> {
  const left = namesOf(path);
  let at: string[] = [];
  for (let looked = 0; looked < NAMES_MOST; looked++) {
    const name = left.shift();
    if (name === undefined) return at.length === 0;
    if (name === '..') {
      at.pop();
      continue;
    }
    if (at.length === 0 && name !== WORKSPACE) return true;
    const record = await statOrNull(connection, Buffer.from(`/${[...at, name].join('/')}`, 'latin1'));
    if (record === null) return false;
    if (record.info.type === 'symlink') {
      left.unshift(...namesOf(record.target));
      if (record.target[0] === SLASH) at = [];
    } else {
      at.push(name);
    }
  }
  return false;
}

/** One byte per character, so that names which are not UTF-8 stay what they are. */
function namesOf(path: Buffer): string[] {
  return path.toString('latin1').split('/').filter((name) => name !== '' && name !== '.');
}
