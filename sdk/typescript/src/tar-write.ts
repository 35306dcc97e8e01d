const BLOCK = 512;
const NAME_BYTES = 100;
const SIZE_MOST = 0o77777777777;
const FLAGS = { file: '0', folder: '5', link: '2' } as const;

export interface TarMember {
  /** Bytes of the path in the archive, relative. */
  readonly name: Buffer;
  readonly kind: keyof typeof FLAGS;
  readonly mode: number;
  readonly mtimeMs: number;
  /** Of the content that follows; 0 for anything but a file. */
  readonly sizeBytes: number;
  /** What a link says. */
  readonly target?: Buffer;
}

export const TAR_END: Buffer = Buffer.alloc(2 * BLOCK);

/** What follows a content of this size, up to the next header. */
export function tarPadding(sizeBytes: number): Buffer {
  return Buffer.alloc((BLOCK - (sizeBytes % BLOCK)) % BLOCK);
}

/** The header of a member (pax(1)), with an extended one before it where a name is too long or a size too large. */
export function tarHeader(member: TarMember): Buffer {
  const name = member.kind === 'folder' ? Buffer.concat([member.name, Buffer.from('/')]) : member.name;
  const target = member.target ?? Buffer.alloc(0);
  const header = ustar({ ...member, name, target, flag: FLAGS[member.kind] });
  const records = [
    ...(name.length > NAME_BYTES ? [paxRecord('path', name)] : []),
    ...(target.length > NAME_BYTES ? [paxRecord('linkpath', target)] : []),
    ...(member.sizeBytes > SIZE_MOST ? [paxRecord('size', Buffer.from(String(member.sizeBytes)))] : []),
  ];
  if (records.length === 0) return header;
  const isText = [name, target].every((bytes) => Buffer.from(bytes.toString('utf8')).equals(bytes));
  const body = Buffer.concat(isText ? records : [paxRecord('hdrcharset', Buffer.from('BINARY')), ...records]);
  const extended = ustar({ name: Buffer.from('pax'), target: Buffer.alloc(0), flag: 'x', mode: 0o644, mtimeMs: 0, sizeBytes: body.length });
  return Buffer.concat([extended, body, tarPadding(body.length), header]);
}

interface Fields extends Pick<TarMember, 'mode' | 'mtimeMs' | 'sizeBytes'> {
  readonly name: Buffer;
  readonly target: Buffer;
  readonly flag: string;
}

function ustar({ name, target, flag, mode, mtimeMs, sizeBytes }: Fields): Buffer {
  const block = Buffer.alloc(BLOCK);
  const octal = (value: number, at: number, length: number): void => void block.write(`${value.toString(8).padStart(length - 1, '0')}\0`, at, 'latin1');
  name.copy(block, 0, 0, NAME_BYTES);
  octal(mode & 0o7777, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(Math.min(sizeBytes, SIZE_MOST), 124, 12);
  octal(Math.min(Math.max(Math.floor(mtimeMs / 1000), 0), SIZE_MOST), 136, 12);
  block.write('        ', 148, 'latin1');
  block.write(flag, 156, 'latin1');
  target.copy(block, 157, 0, NAME_BYTES);
  block.write('ustar\u000000', 257, 'latin1');
  const sum = block.reduce((all, byte) => all + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}

/** `LENGTH KEY=VALUE\n`, where LENGTH counts itself. */
function paxRecord(key: string, value: Buffer): Buffer {
  const rest = key.length + value.length + 3;
  const length = rest + String(rest + String(rest).length).length;
  return Buffer.concat([Buffer.from(`${length} ${key}=`), value, Buffer.from('\n')]);
}
