import { z } from 'zod';
import { text } from './request.ts';
import { wholeNumber } from './api-text.ts';

/** A path of a workspace: absolute below /workspace, or relative to it. */
const Path: z.ZodType<string> = text(4096).refine((path) => path !== '', 'names no path').describe('below /workspace, or relative to it');
/** The bytes of a path, where a name in it is not valid UTF-8. */
const PathBase64: z.ZodType<string> = z.base64().min(4).max(5464).describe('the bytes of a path, in place of the field without Base64');

/** A field for a path and one for its bytes; `oneOf` holds that exactly one is given. */
const NAMED = { path: Path.optional(), pathBase64: PathBase64.optional() };
type Field = string | undefined;
const oneOf = (field: Field, bytes: Field): boolean => (field === undefined) !== (bytes === undefined);
const isNamed: [(named: { readonly path?: Field; readonly pathBase64?: Field }) => boolean, { path: string[]; message: string }] = [
  ({ path, pathBase64 }) => oneOf(path, pathBase64), { path: ['path'], message: 'must be given, as it is or as pathBase64' },
];
const flag = (what: string) => z.enum(['true', 'false']).transform((value) => value === 'true').optional().describe(what);
const octal = z.string().regex(/^[0-7]{3,4}$/, 'must be an octal mode such as 644').transform((value) => Number.parseInt(value, 8));
const Mode: z.ZodType<number> = z.int().min(0).max(0o7777);

export interface FileInfoBody {
  readonly path: string;
  /** The bytes of a path that is not valid UTF-8. */
  readonly pathBase64?: string;
  readonly type: 'file' | 'directory' | 'symlink' | 'fifo' | 'socket' | 'device';
  readonly sizeBytes: number;
  readonly mode: number;
  readonly mtimeMs: number;
  /** Differs after every change; in quotes it is the ETag of the content. */
  readonly version: string;
  readonly target?: string;
}

export const FileInfo: z.ZodType<FileInfoBody> = z.strictObject({
  path: z.string(),
  pathBase64: z.base64().exactOptional(),
  type: z.enum(['file', 'directory', 'symlink', 'fifo', 'socket', 'device']),
  sizeBytes: z.int(),
  mode: z.int(),
  mtimeMs: z.number(),
  version: z.string().describe('differs after every change of the file; in quotes it is the ETag of its content, for If-Match'),
  target: z.string().exactOptional(),
});

// Queries: every value is text.
export const ReadFile = z.strictObject({ ...NAMED }).refine(...isNamed);
export const Stat = z.strictObject({ ...NAMED }).refine(...isNamed);
export const Append = z.strictObject({ ...NAMED }).refine(...isNamed);
export const Archive = z.strictObject({ ...NAMED }).refine(...isNamed);
export const PutFile = z.strictObject({ ...NAMED, mode: octal.optional(), parents: flag('make missing folders'), exclusive: flag('fail when it exists') }).refine(...isNamed);
export const ListFiles = z.strictObject({ ...NAMED, recursive: flag('what is below folders too'), limit: wholeNumber(10_000).optional(), cursor: text(8192).optional() }).refine(...isNamed);
export const Watch = z.strictObject({ ...NAMED, recursive: flag('what is below folders too') }).refine(...isNamed);

// Bodies.
export const Mkdir = z.strictObject({ ...NAMED, parents: z.boolean().optional(), mode: Mode.optional() }).refine(...isNamed);
export const Move = z
  .strictObject({ from: Path.optional(), fromBase64: PathBase64.optional(), to: Path.optional(), toBase64: PathBase64.optional(), replace: z.boolean().optional() })
  .refine(({ from, fromBase64 }) => oneOf(from, fromBase64), { path: ['from'], message: 'must be given, as it is or as fromBase64' })
  .refine(({ to, toBase64 }) => oneOf(to, toBase64), { path: ['to'], message: 'must be given, as it is or as toBase64' });
export const Remove = z.strictObject({ ...NAMED, recursive: z.boolean().optional() }).refine(...isNamed);
export const Chmod = z.strictObject({ ...NAMED, mode: Mode }).refine(...isNamed);
export const Patch = z
  .strictObject({ ...NAMED, diff: z.string().max(900_000) })
  .refine(({ path, pathBase64 }) => path === undefined || pathBase64 === undefined, { path: ['path'], message: 'must not be given twice' });
export const Search = z
  .strictObject({
    ...NAMED,
    name: text(256).optional(),
    content: text(4096).optional(),
    regex: z.boolean().optional(),
    limit: z.int().min(1).max(10_000).optional(),
  })
  .refine(...isNamed)
  .refine(({ name, content }) => name !== undefined || content !== undefined, { path: ['name'], message: 'or content must say what to look for' });
