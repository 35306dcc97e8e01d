import { randomBytes } from 'node:crypto';
import { CaissonError } from '@caisson/contract';
import { makeWhole, readOwn, syncOf, type Sync } from './folder.ts';
import { wrapByKey, type KeyWrap } from './wrap.ts';

const HEX = /^[0-9a-f]{64}\n$/;

/**
 * The wrap key in a file of 64 hex digits, mode 0600, which is made when it is not there. On another file system than the
 * ring's, a copy of the ring alone opens nothing.
 *
 * @throws CaissonError STATE_DIR_INVALID where the file is not ours, others can use it, or it holds something else.
 */
export async function fileWrap(path: string, { sync = syncOf }: { readonly sync?: Sync } = {}): Promise<KeyWrap> {
  const text = (await readOwn(path)) ?? (await made(path, sync));
  if (!HEX.test(text)) throw new CaissonError('STATE_DIR_INVALID', { dir: path, detail: 'it does not hold a key' });
  return wrapByKey('file', Buffer.from(text.trim(), 'hex'));
}

async function made(path: string, sync: Sync): Promise<string> {
  await makeWhole(path, `${randomBytes(32).toString('hex')}\n`, sync); // or another did, and then it is that one
  return (await readOwn(path)) ?? '';
}
