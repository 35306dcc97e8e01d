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
const ASCII = /^[ -~]*$/;
/** As ASCII, and nothing of it is escaped in JSON (RFC 8259 §7). */
const PLAIN = /^[ !#-[\]-~]*$/;

function canonicalString(value: string): string {
  if (PLAIN.test(value)) return `"${value}"`;
  if (!ASCII.test(value) && !value.isWellFormed()) throw new TypeError('canonical JSON cannot hold a lone surrogate');
  return JSON.stringify(value.normalize('NFC'));
}

function canonicalObject(value: { readonly [name: string]: Json | undefined }): string {
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) throw new TypeError('canonical JSON holds plain objects only');
  // The names of an object differ, and those that NFC leaves as they are still do.
  const fields = Object.keys(value).every((name) => ASCII.test(name)) ? value : normalFields(value);
  let text = '';
  for (const name of Object.keys(fields).sort()) {
    const field = fields[name];
    if (field !== undefined) text += `${text === '' ? '' : ','}${canonicalString(name)}:${canonicalJson(field)}`;
  }
  return `{${text}}`;
}

/** The same fields with names in NFC. */
function normalFields(value: { readonly [name: string]: Json | undefined }): { readonly [name: string]: Json } {
  const fields: Record<string, Json> = Object.create(null) as Record<string, Json>;
  for (const [name, field] of Object.entries(value)) {
    if (field === undefined) continue;
    const normal = name.normalize('NFC');
    if (Object.hasOwn(fields, normal)) throw new TypeError(`canonical JSON holds a name once, not ${JSON.stringify(normal)} twice`);
    fields[normal] = field;
  }
  return fields;
}
