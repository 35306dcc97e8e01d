/** Where the workspace is on the host, and who owns its files there. */
export interface FilesHelper {
  /** caisson-files, as built from native/files. */
  readonly binary: string;
  /** The folder on the host that the sandbox has at /workspace, absolute. */
  readonly root: string;
  readonly uid: number;
  readonly gid: number;
}

/**
 * The command of the helper. It must be started by root, with a connected Unix stream socket as descriptor 0 and
 * nothing else: it confines itself to `root` and to `uid` before it reads a byte. It ends with its socket or its parent.
 */
export function filesHelper({ binary, root, uid, gid }: FilesHelper): { readonly argv: readonly string[] } {
  return { argv: [binary, '--root', root, '--uid', String(uid), '--gid', String(gid)] };
}
