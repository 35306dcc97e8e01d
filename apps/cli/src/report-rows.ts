/** Longest text that is kept of a body, in UTF-16 units. */
const KEPT_MOST = 256;

/** Text of an entry as it is kept: of bounded length, and well-formed. */
export function short(text: string): string {
  return text.slice(0, KEPT_MOST).toWellFormed();
}

/** Rows by a key, of which the first `most` are kept apart: memory stays bounded whatever the keys are. */
export interface Rows<Row> {
  readonly rows: Map<string, Row>;
  readonly most: number;
  /** What came for further keys. */
  beyond: number;
}

export function newRows<Row>(most: number): Rows<Row> {
  return { rows: new Map(), most, beyond: 0 };
}

/** The row of a key, made where there is none; undefined: there is no room for another, which is counted. */
export function rowOf<Row>(held: Rows<Row>, key: string, make: () => Row): Row | undefined {
  const found = held.rows.get(key);
  if (found !== undefined) return found;
  if (held.rows.size >= held.most) {
    held.beyond += 1;
    return undefined;
  }
  const row = make();
  held.rows.set(key, row);
  return row;
}

/** The first and the last of many: who floods either end does not push out the other. */
export interface Sample<Item> {
  readonly first: Item[];
  last: Item[];
  count: number;
}

/** How many are kept at each end. */
const SAMPLED = 100;

export function newSample<Item>(): Sample<Item> {
  return { first: [], last: [], count: 0 };
}

export function addTo<Item>(sample: Sample<Item>, item: Item): void {
  sample.count += 1;
  if (sample.first.length < SAMPLED) sample.first.push(item);
  else {
    sample.last.push(item);
    if (sample.last.length >= 2 * SAMPLED) sample.last = sample.last.slice(-SAMPLED);
  }
}

export interface Sampled<Item> {
  readonly count: number;
  /** In the order of the log; where there are fewer than `count`, the first and the last. */
  readonly listed: readonly Item[];
}

export function listOf<Item>({ first, last, count }: Sample<Item>): Sampled<Item> {
  return { count, listed: [...first, ...last.slice(-SAMPLED)] };
}
