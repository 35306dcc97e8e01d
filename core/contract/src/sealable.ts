import { canonicalJson, type Json } from './canonical.ts';

/** Longest canonical text that can be sealed, in bytes. */
export const SEALED_TEXT_BYTES = 32_764;
/** Bytes of the canonical text of a body and of what is sealed beside it, as base64: an entry has to fit a bundle of the log. */
export const BODY_AND_SEALED_BYTES = 63_487;
/** What is no longer than this fits beside any body that is made of it. */
const SMALL_BYTES = 8_188;
/** Length of the text before it, and the tag after it. */
const LENGTH_BYTES = 4;
const TAG_BYTES = 16;
const SMALLEST_CLASS_BYTES = 256;

/** What long texts and long lists are cut to, the mildest first. */
const CUTS: readonly Cut[] = [
  ...[16_384, 8_192, 4_096, 2_048, 1_024, 512, 256, 128, 64].map((characters) => ({ characters, items: Infinity })),
  ...[512, 256, 128, 64, 32, 16, 8, 4].map((items) => ({ characters: 64, items })),
];

interface Cut {
  readonly characters: number;
  readonly items: number;
}

/**
 * A record that can be sealed beside a body. What is too long is shortened: its fields are cut, each cut says how much there
 * was, and `shortened` is true.
 */
export function sealable(record: { readonly [name: string]: Json }, body: Json): { readonly [name: string]: Json } {
  const bytes = textBytes(record);
  if (bytes <= SMALL_BYTES) return record;
  const room = roomBeside(textBytes(body));
  if (bytes <= room) return record;
  for (const by of CUTS) {
    const shortened = { ...(cut(record, by) as { readonly [name: string]: Json }), shortened: true };
    if (textBytes(shortened) <= room) return shortened;
  }
  return { shortened: true };
}

/** The longest text that can be sealed beside a body of so many bytes. */
function roomBeside(bodyBytes: number): number {
  for (let sizeBytes = SEALED_TEXT_BYTES + LENGTH_BYTES; sizeBytes >= SMALLEST_CLASS_BYTES; sizeBytes /= 2) {
    if (bodyBytes + 4 * Math.ceil((sizeBytes + TAG_BYTES) / 3) <= BODY_AND_SEALED_BYTES) return sizeBytes - LENGTH_BYTES;
  }
  return 0;
}

function cut(value: Json, by: Cut): Json {
  if (typeof value === 'string') return value.length <= by.characters ? value : `${value.slice(0, by.characters).toWellFormed()}… of ${value.length} characters`;
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) {
    const items = value.slice(0, by.items).map((item: Json) => cut(item, by));
    return value.length <= by.items ? items : [...items, `… of ${value.length} items`];
  }
  const fields = Object.entries(value as { readonly [name: string]: Json });
  const kept = fields.slice(0, by.items).map(([name, field]) => [name, cut(field, by)] as const);
  return Object.fromEntries(fields.length <= by.items ? kept : [...kept, ['…', `of ${fields.length} fields`]]);
}

function textBytes(value: Json): number {
  let bytes = 0;
  for (const character of canonicalJson(value)) bytes += utf8Bytes(character.codePointAt(0) ?? 0);
  return bytes;
}

/** RFC 3629 §3. */
function utf8Bytes(code: number): number {
  if (code < 0x80) return 1;
  if (code < 0x800) return 2;
  return code < 0x1_0000 ? 3 : 4;
}
