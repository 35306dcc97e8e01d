import type { WorkspaceChange, WorkspaceDiff } from '@caisson/contract';

const KINDS: ReadonlySet<string> = new Set(['added', 'changed', 'removed']);
const TYPES: ReadonlySet<string> = new Set(['file', 'directory', 'symlink', 'fifo', 'socket', 'device']);

/** Reads what `caisson-store diff` wrote: five fields per entry, each ending in NUL. @throws Error when it is cut short or not that */
export function parseDiff(bytes: Buffer): WorkspaceDiff {
  const changes: WorkspaceChange[] = [];
  let at = 0;
  const field = (): Buffer => {
    const end = bytes.indexOf(0, at);
    if (end < 0) throw new Error('the list of differences is cut short');
    const taken = bytes.subarray(at, end);
    at = end + 1;
    return taken;
  };
  for (;;) {
    const kind = field().toString('latin1');
    if (kind === 'end' || kind === 'truncated') return { changes, truncated: kind === 'truncated' };
    const type = field().toString('latin1');
    const size = field().toString('latin1');
    const mode = field().toString('latin1');
    if (!KINDS.has(kind) || !TYPES.has(type) || !/^\d{1,15}$/.test(size) || !/^[0-7]{1,4}$/.test(mode)) throw new Error('not a list of differences');
    changes.push({
      ...pathOf(field()),
      kind: kind as WorkspaceChange['kind'],
      type: type as WorkspaceChange['type'],
      sizeBytes: Number(size),
      mode: Number.parseInt(mode, 8),
    });
  }
}

function pathOf(bytes: Buffer): Pick<WorkspaceChange, 'path' | 'pathBase64'> {
  const path = bytes.toString('utf8');
  return Buffer.from(path, 'utf8').equals(bytes) ? { path } : { path, pathBase64: bytes.toString('base64') };
}
