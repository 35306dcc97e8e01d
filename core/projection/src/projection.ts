import { closeSync, openSync } from 'node:fs';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { CaissonError, type Entry } from '@caisson/contract';
import { Rest, restOf, ROWS, ROWS_NAMES, stateFrom, type Row, type RowsName, type RowsOf } from './bytes.ts';
import { foldAll } from './fold.ts';
import { emptyState, type State } from './state.ts';

/** An entry as the log gives it: with the hash of the log up to and including it. */
export interface Logged {
  readonly entry: Entry;
  readonly hash: string;
}

export interface Position {
  /** Index of the last entry that is applied. */
  readonly index: number;
  readonly hash: string;
}

const TABLES = `
  CREATE TABLE IF NOT EXISTS position (only INTEGER PRIMARY KEY CHECK (only = 0), hash TEXT NOT NULL, rest TEXT NOT NULL) STRICT;
  CREATE TABLE IF NOT EXISTS rows (name TEXT NOT NULL, id TEXT NOT NULL, agent TEXT, body TEXT NOT NULL, PRIMARY KEY (name, id)) STRICT, WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS rows_of_agent ON rows (name, agent) WHERE agent IS NOT NULL;
`;

/** The fold of the log in a database: what may be dropped at any time and is made again from the log. */
export class Projection implements Disposable {
  readonly #db: DatabaseSync;
  readonly #put: StatementSync;
  readonly #drop: StatementSync;
  #state: State;
  #hash: string;

  constructor(db: DatabaseSync) {
    this.#db = db;
    db.exec(TABLES);
    this.#put = db.prepare('INSERT INTO rows (name, id, agent, body) VALUES (?, ?, ?, ?) ON CONFLICT (name, id) DO UPDATE SET agent = excluded.agent, body = excluded.body');
    this.#drop = db.prepare('DELETE FROM rows WHERE name = ? AND id = ?');
    const { state, hash } = readState(db);
    this.#state = state;
    this.#hash = hash;
  }

  /** What has been applied last; null: nothing. */
  get position(): Position | null {
    return this.#state.entries === 0 ? null : { index: this.#state.entries - 1, hash: this.#hash };
  }

  get state(): State {
    return this.#state;
  }

  /**
   * Applies entries in their order, in one transaction with the position: all of them or none. Those that it has are passed over.
   *
   * @throws CaissonError EVIDENCE_DAMAGED for a gap, and for a log whose entry at the position is another
   */
  apply(lines: Iterable<Logged>): void {
    const fresh: Logged[] = [];
    for (const line of lines) {
      const { index } = line.entry;
      const next = this.#state.entries + fresh.length;
      if (index > next) throw new CaissonError('EVIDENCE_DAMAGED', { index, detail: `entries are missing: ${next} would follow` });
      if (index === this.#state.entries - 1 && line.hash !== this.#hash) throw new CaissonError('EVIDENCE_DAMAGED', { index, detail: 'it is another than the one that was applied: the projection is of another log' });
      if (index === next) fresh.push(line);
    }
    const last = fresh.at(-1);
    if (last === undefined) return;
    const state = foldAll(this.#state, fresh.map(({ entry }) => entry));
    this.#write(state, last.hash);
    this.#state = state;
    this.#hash = last.hash;
  }

  #write(state: State, hash: string): void {
    this.#db.exec('BEGIN IMMEDIATE');
    try {
      for (const name of ROWS_NAMES) this.#writeRows(name, this.#state[name], state[name]);
      this.#db.prepare('INSERT INTO position (only, hash, rest) VALUES (0, ?, ?) ON CONFLICT (only) DO UPDATE SET hash = excluded.hash, rest = excluded.rest').run(hash, JSON.stringify(restOf(state)));
      this.#db.exec('COMMIT');
    } catch (error) {
      this.#db.exec('ROLLBACK');
      throw error;
    }
  }

  /** Rows are replaced and never changed, so that those which are the same object are the same. */
  #writeRows(name: RowsName, before: ReadonlyMap<string, { readonly id: string }>, after: ReadonlyMap<string, { readonly id: string }>): void {
    for (const [id, row] of after) {
      if (before.get(id) !== row) this.#put.run(name, id, 'agent' in row ? String(row.agent) : null, JSON.stringify(row));
    }
    for (const id of before.keys()) if (!after.has(id)) this.#drop.run(name, id);
  }

  /** Rows as the database has them, by their ids; those of one agent where one is named. */
  rows(name: RowsName, agent?: string): readonly Row[] {
    const found = agent === undefined
      ? this.#db.prepare('SELECT body FROM rows WHERE name = ? ORDER BY id').all(name)
      : this.#db.prepare('SELECT body FROM rows WHERE name = ? AND agent = ? ORDER BY id').all(name, agent);
    return found.map(({ body }) => rowOf(name, body));
  }

  [Symbol.dispose](): void {
    this.#db.close();
  }
}

function rowOf(name: RowsName, body: unknown): Row {
  return ROWS[name].parse(JSON.parse(String(body)));
}

function readState(db: DatabaseSync): { readonly state: State; readonly hash: string } {
  const found = db.prepare('SELECT hash, rest FROM position').get();
  if (found === undefined) return { state: emptyState(), hash: '' };
  const rows = Object.fromEntries(ROWS_NAMES.map((name) => [name, db.prepare('SELECT body FROM rows WHERE name = ?').all(name).map(({ body }) => rowOf(name, body))])) as unknown as RowsOf;
  return { state: stateFrom(Rest.parse(JSON.parse(String(found['rest']))), rows), hash: String(found['hash']) };
}

/**
 * Opens the projection in a file, or makes it, mode 0600. It is written ahead (WAL) and not waited for on the disk: after a crash
 * it is that of an earlier entry, and the log gives the rest.
 *
 * @throws Error for a file that is no such database; whoever has the log removes it and opens it again
 */
export function openProjection(path: string): Projection {
  closeSync(openSync(path, 'a', 0o600));
  const db = new DatabaseSync(path);
  try {
    db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA busy_timeout = 5000;');
    return new Projection(db);
  } catch (error) {
    db.close();
    throw error;
  }
}
