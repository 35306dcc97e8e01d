import type { Fetch } from '@caisson/tlog';
import { CaissonError } from '@caisson/contract';
import type { ObjectStore } from './store.ts';
import { MAX_OBJECT_BYTES } from './upload.ts';

/** Reads a log out of its archive, to be verified. A store that does not answer is never taken for one without the object. */
export function fetchFrom(store: ObjectStore): Fetch {
  return async (path) => {
    const got = await store.get(path, MAX_OBJECT_BYTES);
    if (got !== null && 'failed' in got) throw unavailable(store, `${got.failed}: ${got.detail}`);
    return got?.bytes ?? null;
  };
}

/** Every key below a prefix, page by page. @throws CaissonError STATE_DIR_INVALID when the store does not answer */
export async function* keysOf(store: ObjectStore, prefix: string): AsyncGenerator<string> {
  let from: string | undefined;
  do {
    const page = await store.list(prefix, from);
    if ('failed' in page) throw unavailable(store, `${page.failed}: ${page.detail}`);
    yield* page.keys;
    from = page.next;
  } while (from !== undefined);
}

function unavailable({ name }: ObjectStore, detail: string): CaissonError {
  return new CaissonError('STATE_DIR_INVALID', { dir: name, detail });
}
