import { globSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Document, Schema } from './json-schema.ts';

const PACKAGE = 'sdk/python/src/caisson';
/** Every file but this one is the same in both ways of waiting; it has a twin written by hand. */
const TWIN = 'io.py';

/** What the Python SDK is made from besides its own source: path from the root → text. */
export function pythonFiles(root: string, document: unknown): ReadonlyMap<string, string> {
  const driver = readFileSync(join(root, 'sdk/driver/python_session.py'), 'utf8');
  const sources = globSync(`${PACKAGE}/_aio/[a-z]*.py`, { cwd: root }).filter((path) => basename(path) !== TWIN).toSorted();
  return new Map([
    [`${PACKAGE}/_types.py`, pythonTypes(document as Document)],
    [`${PACKAGE}/_driver.py`, driverModule(driver)],
    ...sources.map((path): [string, string] => [path.replace('/_aio/', '/_sync/'), blocking(readFileSync(join(root, path), 'utf8'), basename(path))]),
  ]);
}

function driverModule(source: string): string {
  const lines = source.split('\n').slice(0, -1).map((line) => `    ${JSON.stringify(`${line}\n`)}`);
  return `"""The inside of a Python session. Generated from sdk/driver/python_session.py by \`./dev generate\`: change that file."""\n\nSOURCE = (\n${lines.join('\n')}\n)\n`;
}

/** What asyncio writes in another way. The order matters: the longer one first. */
const BLOCKING: readonly (readonly [RegExp, string])[] = [
  [/\basync (?=(?:def|with|for)\b)/g, ''],
  [/\bawait /g, ''],
  [/\bAwaitable\[(\w+)\]/g, '$1'],
  [/, Awaitable, /g, ', '],
  [/\b__a(enter|exit|iter|next)__/g, '__$1__'],
  [/\bAsync(?=[A-Z])/g, ''],
  [/\baclos(e|ing)\b/g, 'clos$1'],
];

/** The blocking form of a module for asyncio. */
function blocking(source: string, name: string): string {
  const text = BLOCKING.reduce((before, [what, by]) => before.replace(what, by), source);
  return `# Generated from _aio/${name} by \`./dev generate\`: change that file.\n${text}`;
}

const HEAD = `"""The nouns of the HTTP API, version 1, as they are on the wire. Generated from api/openapi.json by \`./dev generate\`."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict, Union
`;
const PRIMITIVES: Readonly<Record<string, string>> = { string: 'str', integer: 'int', number: 'float', boolean: 'bool', null: 'None' };
/** Words of Python that no field of a class can be called. */
const KEYWORDS = new Set(['from', 'import', 'class', 'def', 'is', 'in', 'as', 'with', 'global', 'lambda', 'not', 'or', 'and', 'pass', 'raise', 'return', 'try', 'async', 'await']);

/** The schemas of the document as typed dicts. */
function pythonTypes({ components: { schemas } }: Document): string {
  const made: string[] = [];
  const listed = schemas['Problem']?.properties?.['code']?.enum ?? [];
  const named = JSON.parse(JSON.stringify(schemas), (key, value: unknown) =>
    key !== '' && JSON.stringify((value as Schema | null)?.enum) === JSON.stringify(listed) ? { $ref: '#/components/schemas/ErrorCode' } : value) as typeof schemas;
  for (const [name, schema] of Object.entries(named)) declare(name, schema, made);
  const codes = listed.map((code) => `    ${JSON.stringify(code)},\n`).join('');
  return `${HEAD}\nErrorCode = Literal[\n${codes}]\n\n\n${made.join('\n\n')}`;
}

function declare(name: string, schema: Schema, made: string[]): void {
  if (schema.properties === undefined) {
    made.push(`${name} = ${typeOf(schema, name, made)}\n`);
    return;
  }
  const required = new Set(schema.required ?? []);
  const fields = Object.entries(schema.properties).map(([field, of]): [string, string, string | undefined] => {
    const type = typeOf(of, `${name}${field.charAt(0).toUpperCase()}${field.slice(1)}`, made);
    return [field, required.has(field) ? type : `NotRequired[${type}]`, of.description];
  });
  const plain = fields.every(([field]) => /^[A-Za-z_]\w*$/.test(field) && !KEYWORDS.has(field));
  made.push(plain ? classOf(name, fields) : `${name} = TypedDict(\n    "${name}",\n    {\n${fields.map(([field, type]) => `        ${JSON.stringify(field)}: ${JSON.stringify(type).replaceAll('\\"', "'")},\n`).join('')}    },\n)\n`);
}

function classOf(name: string, fields: readonly (readonly [string, string, string | undefined])[]): string {
  const lines = fields.map(([field, type, description]) => `    ${field}: ${type}\n${description === undefined ? '' : `    """${description.replaceAll('"""', '')}"""\n`}`);
  return `class ${name}(TypedDict):\n${lines.join('') || '    pass\n'}`;
}

/** The type of a schema; one that needs a name of its own is declared as `name`. */
function typeOf(schema: Schema, name: string, made: string[]): string {
  if (schema.$ref !== undefined) return `"${schema.$ref.slice(schema.$ref.lastIndexOf('/') + 1)}"`;
  if (schema.const !== undefined) return `Literal[${JSON.stringify(schema.const)}]`;
  if (schema.enum !== undefined) return `Literal[${schema.enum.map((value) => JSON.stringify(value)).join(', ')}]`;
  const choices = schema.anyOf ?? schema.oneOf;
  if (choices !== undefined) return unionOf(choices.map((choice) => typeOf(choice, `${name}${kindOf(choice)}`, made)));
  if (Array.isArray(schema.type)) return unionOf((schema.type as readonly string[]).map((type) => typeOf({ ...schema, type }, name, made)));
  if (schema.type === 'array') return `list[${typeOf(schema.items ?? {}, `${name}Item`, made)}]`;
  if (schema.properties !== undefined && Object.keys(schema.properties).length > 0) {
    declare(name, schema, made);
    return `"${name}"`;
  }
  if (schema.type === 'object') return `dict[str, ${typeof schema.additionalProperties === 'object' ? typeOf(schema.additionalProperties, `${name}Value`, made) : 'Any'}]`;
  return PRIMITIVES[schema.type as string] ?? 'Any';
}

/** What tells one choice from another, for its name: Exited of { kind: 'exited' }. */
function kindOf({ properties }: Schema): string {
  const kind = Object.values(properties ?? {}).find((of) => typeof of.const === 'string')?.const;
  return typeof kind === 'string' ? kind.replaceAll(/(?:^|[^a-z])([a-z])/g, (_, letter: string) => letter.toUpperCase()) : '';
}

function unionOf(types: readonly string[]): string {
  const distinct = [...new Set(types)];
  return distinct.length === 1 ? (distinct[0] ?? 'Any') : `Union[${distinct.join(', ')}]`;
}
