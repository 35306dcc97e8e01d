import { fromBER, ObjectIdentifier, type BaseBlock } from 'asn1js';

/** Bytes that are not what a specification says stands there. Inside of this room only: who asks gets a refusal. */
export class DerError extends Error {}

/** What a tag is: u for universal, c for context-specific, and its number (X.690 §8.1.2). */
export const TAG = { boolean: 'u1', integer: 'u2', bits: 'u3', octets: 'u4', oid: 'u6', sequence: 'u16', set: 'u17', time: 'u24' } as const;

/** One value of ASN.1, with its own bytes as they came. */
export interface Der {
  readonly tag: string;
  /** Tag, length and content. */
  readonly raw: Buffer;
  readonly content: Buffer;
  /** What is inside of it; null: it is primitive. */
  readonly children: readonly Der[] | null;
  /** Of an object identifier, dotted. */
  readonly oid: string | null;
}

const CLASSES: Readonly<Record<number, string>> = { 1: 'u', 3: 'c' };
const BOUNDS = { maxDepth: 32, maxNodes: 10_000 };

/** Reads one value, to the last byte. @throws DerError */
export function readDer(bytes: Buffer): Der {
  if (bytes.length === 0) throw new DerError('is empty');
  const { offset, result } = fromBER(bytes, { ...BOUNDS, maxContentLength: bytes.length });
  if (offset === -1) throw new DerError(`is no ASN.1: ${result.error}`);
  if (offset !== bytes.length) throw new DerError('goes on after its end');
  return viewOf(result);
}

function viewOf(block: BaseBlock): Der {
  const { idBlock, lenBlock, valueBlock } = block;
  const raw = Buffer.from(block.valueBeforeDecodeView);
  const inner = (valueBlock as { readonly value?: unknown }).value;
  const children = idBlock.isConstructed && Array.isArray(inner) ? (inner as readonly BaseBlock[]).map(viewOf) : null;
  const tag = `${CLASSES[idBlock.tagClass] ?? `x${idBlock.tagClass}-`}${idBlock.tagNumber}`;
  return { tag, raw, content: raw.subarray(raw.length - lenBlock.length), children, oid: block instanceof ObjectIdentifier ? block.getValue() : null };
}

/** The values inside of one, in their order. */
export interface Fields {
  /** The next one, which has to have this tag. @throws DerError */
  readonly next: (tag: string, what: string) => Der;
  /** The next one, where it has this tag. */
  readonly maybe: (tag: string) => Der | null;
  /** The next one, whatever it is. @throws DerError */
  readonly any: (what: string) => Der;
  /** @throws DerError when there are more */
  readonly end: () => void;
}

/** @throws DerError when it is not of that tag, or holds nothing */
export function fieldsOf(der: Der, tag: string, what: string): Fields {
  const rest = [...itemsOf(der, tag, what)];
  const any: Fields['any'] = (part) => rest.shift() ?? fail(`${what} has no ${part}`);
  return {
    any,
    next: (wanted, part) => (rest[0]?.tag === wanted ? any(part) : fail(`${what} has no ${part}`)),
    maybe: (wanted) => (rest[0]?.tag === wanted ? (rest.shift() ?? null) : null),
    end: () => (rest.length === 0 ? undefined : fail(`${what} has more than it may have`)),
  };
}

/** @throws DerError */
export function itemsOf({ tag, children }: Der, wanted: string, what: string): readonly Der[] {
  return tag === wanted && children !== null ? children : fail(`${what} is not what it has to be`);
}

/** @throws DerError */
export function oidOf({ oid }: Der, what: string): string {
  return oid ?? fail(`${what} is no object identifier`);
}

/** The bytes of an octet string, also of one that is in parts, as BER has it. @throws DerError */
export function octetsOf(der: Der, what: string): Buffer {
  if (der.tag !== TAG.octets) throw new DerError(`${what} is no octet string`);
  return der.children === null ? Buffer.from(der.content) : Buffer.concat(der.children.map((part) => octetsOf(part, what)));
}

/** A count in an INTEGER. @throws DerError when it is negative or too large to be one */
export function countOf({ content }: Der, what: string): number {
  if (content.length === 0 || content.length > 6 || (content[0] as number) > 127) throw new DerError(`${what} is no count`);
  return content.readUIntBE(0, content.length);
}

/** @throws DerError, always */
export function fail(reason: string): never {
  throw new DerError(reason);
}
