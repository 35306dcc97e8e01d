import type { Counters, StoreErrorClass } from './counters.ts';

/** A refusal or failure of a store. Whether a write that failed has happened is not known, but where the class is PreconditionFailed or AccessDenied. */
export interface StoreFailure {
  readonly failed: StoreErrorClass;
  readonly detail: string;
}

/** What has to hold at the store at the moment of a write; the store itself looks (RFC 9110 §13.1). */
export type Condition = { readonly ifNoneMatch: '*' } | { readonly ifMatch: string };

export interface Put {
  readonly key: string;
  readonly bytes: Buffer;
  readonly condition: Condition;
  /** Whether nobody may change or remove it afterwards, where the store is configured to hold that (Object Lock). */
  readonly keep: boolean;
}

export interface Got {
  readonly bytes: Buffer;
  /** What the store calls this version of the object. */
  readonly etag: string;
}

export interface Page {
  readonly keys: readonly string[];
  /** Where the next page starts; absent on the last. */
  readonly next?: string;
}

/** Objects by key. There is no call that writes without a condition, and none that removes. */
export interface ObjectStore extends Disposable {
  /** Where it is, for people and to tell one store from another. */
  readonly name: string;
  put(put: Put): Promise<{ readonly etag: string } | StoreFailure>;
  /** null: there is no such object. One of more than `maxBytes` is a failure. */
  get(key: string, maxBytes: number): Promise<Got | null | StoreFailure>;
  /** Keys that begin with `prefix`, in order, from the start or from where a page said that the next one starts. */
  list(prefix: string, from?: string): Promise<Page | StoreFailure>;
}

export function failure(failed: StoreErrorClass, detail: string): StoreFailure {
  return { failed, detail };
}

/** Whether a key has only segments that mean nothing to a file system. */
export function isKey(key: string): boolean {
  return key.length <= 512 && key.split('/').every((segment) => /^[A-Za-z0-9_-][A-Za-z0-9._-]*$/.test(segment));
}

/** The store, with every call and every failure counted. */
export function counted(store: ObjectStore, counters: Counters): ObjectStore {
  const note = <T>(answer: T | StoreFailure): T | StoreFailure => {
    if (typeof answer === 'object' && answer !== null && 'failed' in answer) counters.errors[answer.failed] += 1;
    return answer;
  };
  return {
    name: store.name,
    async put(put) {
      counters.puts += 1;
      const answer = note(await store.put(put));
      if (!('failed' in answer)) counters.putBytes += put.bytes.length;
      return answer;
    },
    async get(key, maxBytes) {
      counters.gets += 1;
      return note(await store.get(key, maxBytes));
    },
    async list(prefix, from) {
      counters.lists += 1;
      return note(await store.list(prefix, from));
    },
    [Symbol.dispose]: () => store[Symbol.dispose](),
  };
}
