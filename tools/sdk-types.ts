import type { Document, Schema } from './json-schema.ts';

const HEAD = [
  '/**',
  ' * The nouns of the HTTP API, version 1. Generated from api/openapi.json by `./dev generate`: change the schemas instead.',
  ' */',
  '',
].join('\n');

/** The named schemas of an OpenAPI document as TypeScript types, and its error codes as `ErrorCode`. */
export function sdkTypes(document: unknown): string {
  const { schemas } = (document as Document).components;
  const codes = schemas['Problem']?.properties?.['code']?.enum ?? [];
  const error = `/** Codes of the errors with which the API answers; api/errors.md explains each. */\nexport type ErrorCode =\n${wrapped(codes.map((code) => `| ${literal(code)}`))};\n`;
  const listed = JSON.stringify(codes);
  const named = (schema: Schema): string | null => (JSON.stringify(schema.enum) === listed ? 'ErrorCode' : null);
  const types = Object.entries(schemas).toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([name, schema]) => declaration(name, schema, named));
  return [HEAD, error, ...types].join('\n');
}

const SIMPLE: Readonly<Record<string, string>> = { integer: 'number', number: 'number', string: 'string', boolean: 'boolean', null: 'null' };

type Named = (schema: Schema) => string | null;

function declaration(name: string, schema: Schema, named: Named): string {
  if (schema.properties !== undefined) return `export interface ${name} ${objectOf(schema, named, '', 0)}\n`;
  const choices = schema.anyOf ?? schema.oneOf;
  if (choices === undefined) return `export type ${name} = ${typeOf(schema, named, '')};\n`;
  return `export type ${name} =\n${choices.map((choice) => `  | ${typeOf(choice, named, '  ')}`).join('\n')};\n`;
}

/** Lines of at most 140 characters. */
function wrapped(words: readonly string[]): string {
  const lines: string[] = [];
  for (const word of words) {
    const last = lines.at(-1);
    if (last === undefined || last.length + word.length > 138) lines.push(`  ${word}`);
    else lines[lines.length - 1] = `${last} ${word}`;
  }
  return lines.join('\n');
}

function typeOf(schema: Schema, named: Named, indent: string): string {
  const { $ref, type, items } = schema;
  if ($ref !== undefined) return $ref.slice($ref.lastIndexOf('/') + 1);
  if ('const' in schema) return literal(schema.const);
  if (schema.enum !== undefined) return named(schema) ?? schema.enum.map(literal).join(' | ');
  const choices = schema.anyOf ?? schema.oneOf;
  if (choices !== undefined) return unionOf(choices.map((choice) => typeOf(choice, named, indent)));
  if (Array.isArray(type)) return unionOf((type as readonly string[]).map((one) => typeOf({ ...schema, type: one }, named, indent)));
  switch (type) {
    case 'object': return objectOf(schema, named, indent);
    case 'array': return items === undefined ? 'readonly unknown[]' : `readonly ${grouped(typeOf(items, named, indent))}[]`;
    default: return SIMPLE[String(type)] ?? 'unknown';
  }
}

const literal = (value: unknown): string => (typeof value === 'string' ? `'${value.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'` : JSON.stringify(value));
const grouped = (text: string): string => (text.includes(' | ') && !text.startsWith('{') ? `(${text})` : text);
const unionOf = (parts: readonly string[]): string => [...new Set(parts)].join(' | ');

/** Longest object that stands on one line. */
const LINE_MOST = 138;

function objectOf({ properties, required = [], additionalProperties }: Schema, named: Named, indent: string, lineMost = LINE_MOST): string {
  if (properties === undefined || Object.keys(properties).length === 0) {
    const values = typeof additionalProperties === 'object' ? typeOf(additionalProperties, named, indent) : 'unknown';
    return `Readonly<Record<string, ${values === '' ? 'unknown' : values}>>`;
  }
  const inner = `${indent}  `;
  const lines = Object.entries(properties).flatMap(([name, schema]) => [
    ...(schema.description === undefined ? [] : [`${inner}/** ${schema.description.replaceAll('*/', '* /')} */`]),
    `${inner}readonly ${/^[A-Za-z_]\w*$/.test(name) ? name : literal(name)}${required.includes(name) ? '' : '?'}: ${typeOf(schema, named, inner)};`,
  ]);
  const line = `{ ${lines.map((text) => text.trim()).join(' ').replace(/;$/, '')} }`;
  return line.length <= lineMost && !line.includes('/**') && !line.includes('\n') ? line : `{\n${lines.join('\n')}\n${indent}}`;
}
