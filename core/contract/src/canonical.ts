/** JSON without floats: integers within ±(2^53 − 1), strings, booleans, null, arrays and plain objects. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [name: string]: Json | undefined };

/**
 * The one text for a value: keys sorted by code unit (RFC 8785 §3.2.3), no white space, NFC strings,
 * `undefined` fields left out. Two equal values give equal bytes, so a digest of the text identifies the value.
 *
 * @throws TypeError for numbers that are not safe integers, lone surrogates, names that NFC makes equal, and anything that is not JSON.
 */
export function canonicalJson(value: Json): string {
  if (value === null || typeof value === 'boolean') return String(value);
  if (typeof value === 'number') return canonicalNumber(value);
  if (typeof value === 'string') return canonicalString(value);
  if (Array.isArray(value)) return `[${value.map((item: Json) => canonicalJson(item)).join(',')}]`;
  if (typeof value === 'object') return canonicalObject(value as { readonly [name: string]: Json | undefined });
  throw new TypeError(`canonical JSON cannot hold a ${typeof value}`);
}

function canonicalNumber(value: number): string {
  if (!Number.isSafeInteger(value) || Object.is(value, -0)) throw new TypeError(`canonical JSON holds integers only, not ${value}`);
  return String(value);
}

/** Of what is printable ASCII NFC changes nothing (UAX #15 §1.3), and no character of it is a surrogate. */
const PLAIN = /^[ -~]*$/;

function canonicalString(value: string): string {
  if (PLAIN.test(value)) return JSON.stringify(value);
  if (!value.isWellFormed()) throw new TypeError('canonical JSON cannot hold a lone surrogate');
  return JSON.stringify(value.normalize('NFC'));
}

function canonicalObject(value: { readonly [name: string]: Json | undefined }): string {
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) throw new TypeError('canonical JSON holds plain objects only');
  const fields = new Map<string, Json>();
  for (const [name, field] of Object.entries(value)) {
    if (field === undefined) continue;
    const normal = PLAIN.test(name) ? name : name.normalize('NFC');
    if (fields.has(normal)) throw new TypeError(`canonical JSON holds a name once, not ${JSON.stringify(normal)} twice`);
    fields.set(normal, field);
  }
  const texts = [...fields.keys()].sort().map((name) => `${canonicalString(name)}:${canonicalJson(fields.get(name) as Json)}`);
  return `{${texts.join(',')}}`;
}
