const BLOCK = 512;
const NAME_BYTES = 100;
const SIZE_MAX = 0o77777777777;

export interface TarMember {
  /** Bytes of the path in the archive, relative. */
  readonly name: Buffer;
  readonly kind: 'file' | 'folder' | 'symbolic-link';
  readonly mode: number;
  readonly mtimeS: number;
  /** Of the content that follows; 0 for anything but a file. */
  readonly sizeBytes: number;
  /** What a link says. */
  readonly target?: Buffer;
}

const FLAGS = { file: '0', folder: '5', 'symbolic-link': '2' } as const;

/**
 * The header of one member (pax(1), "ustar Interchange Format"), with an extended header before it where a name is too
 * long or a size too large. Names are written as the bytes they are; an extended header says when they are not UTF-8.
 */
export function tarHeader(member: TarMember): Buffer {
  const name = member.kind === 'folder' ? Buffer.concat([member.name, Buffer.from('/')]) : member.name;
  const target = member.target ?? Buffer.alloc(0);
  const records = [
    ...(name.length > NAME_BYTES ? [paxRecord('path', name)] : []),
    ...(target.length > NAME_BYTES ? [paxRecord('linkpath', target)] : []),
    ...(member.sizeBytes > SIZE_MAX ? [paxRecord('size', Buffer.from(String(member.sizeBytes)))] : []),
  ];
  const header = ustar({ ...member, name, target, flag: FLAGS[member.kind] });
  if (records.length === 0) return header;
  const isText = [name, target].every((bytes) => Buffer.from(bytes.toString('utf8')).equals(bytes));
  const body = Buffer.concat(isText ? records : [paxRecord('hdrcharset', Buffer.from('BINARY')), ...records]);
  const extended = ustar({ name: Buffer.from('pax'), target: Buffer.alloc(0), flag: 'x', mode: 0o644, mtimeS: 0, sizeBytes: body.length });
  return Buffer.concat([extended, body, tarPadding(body.length), header]);
}

/** What follows a content of this size, up to the next header. */
export function tarPadding(sizeBytes: number): Buffer {
  return Buffer.alloc((BLOCK - (sizeBytes % BLOCK)) % BLOCK);
}

export const TAR_END: Buffer = Buffer.alloc(2 * BLOCK);

interface Fields extends Pick<TarMember, 'mode' | 'mtimeS' | 'sizeBytes'> {
  readonly name: Buffer;
  readonly target: Buffer;
  readonly flag: string;
}

function ustar({ name, target, flag, mode, mtimeS, sizeBytes }: Fields): Buffer {
  const block = Buffer.alloc(BLOCK);
  const octal = (value: number, at: number, length: number): void => void block.write(`${value.toString(8).padStart(length - 1, '0')}\0`, at, 'latin1');
  name.copy(block, 0, 0, NAME_BYTES);
  octal(mode, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(Math.min(sizeBytes, SIZE_MAX), 124, 12);
  octal(Math.min(Math.max(Math.floor(mtimeS), 0), SIZE_MAX), 136, 12);
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
  const guess = rest + String(rest).length;
  const length = rest + String(guess).length;
  return Buffer.concat([Buffer.from(`${length} ${key}=`), value, Buffer.from('\n')]);
}
