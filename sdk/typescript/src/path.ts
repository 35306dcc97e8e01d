/** A path of a workspace: below /workspace, or relative to it. Bytes where a name in it is not UTF-8, as an answer's `pathBase64`. */
export type FilePath = string | Uint8Array;

/** The field that names a path: bytes go as they are. */
export function named(path: FilePath, field = 'path'): Readonly<Record<string, string>> {
  return typeof path === 'string' ? { [field]: path } : { [`${field}Base64`]: Buffer.from(path).toString('base64') };
}

/** For messages: what is not UTF-8 shows as U+FFFD. */
export function shown(path: FilePath): string {
  return typeof path === 'string' ? path : Buffer.from(path).toString('utf8');
}
