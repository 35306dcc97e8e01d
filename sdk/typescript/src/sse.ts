import { StringDecoder } from 'node:string_decoder';
import { invalidAnswer } from './errors.ts';

/** A server-sent event (HTML §9.2). */
export interface ServerEvent {
  readonly event: string;
  readonly data: string;
  readonly id: string | null;
}

/** Longest event, in UTF-16 units; the API's own are under 200 000. */
const EVENT_MOST = 4 * 1024 * 1024;

/**
 * A parser of an event stream that may be cut into chunks anywhere: each call takes the next chunk and returns the events
 * that it completes. An event that the end of the stream cuts off is none.
 */
export function eventParser(): (chunk: Uint8Array) => readonly ServerEvent[] {
  const decoder = new StringDecoder('utf8');
  let rest = '';
  let fields = emptyFields();
  let isFirst = true;
  let afterReturn = false;

  return (chunk) => {
    let fresh = decoder.write(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength));
    if (fresh === '') return [];
    if (isFirst && fresh.startsWith('\ufeff')) fresh = fresh.slice(1);
    isFirst = false;
    if (afterReturn && fresh.startsWith('\n')) fresh = fresh.slice(1);
    afterReturn = fresh === '' ? afterReturn : fresh.endsWith('\r');
    const events: ServerEvent[] = [];
    const lines = fresh.includes('\r') ? fresh.split(/\r\n|\n|\r/) : fresh.split('\n');
    lines[0] = rest + (lines[0] ?? '');
    rest = lines.pop() ?? '';
    for (const line of lines) fields = takeLine(line, fields, events);
    if (rest.length + fields.length > EVENT_MOST) throw invalidAnswer(`an event of more than ${EVENT_MOST} characters`);
    return events;
  };
}

interface Fields {
  readonly event: string;
  readonly data: string[];
  readonly id: string | null;
  readonly length: number;
}

const emptyFields = (): Fields => ({ event: '', data: [], id: null, length: 0 });

function takeLine(line: string, fields: Fields, events: ServerEvent[]): Fields {
  if (line === '') {
    if (fields.data.length > 0) events.push({ event: fields.event || 'message', data: fields.data.join('\n'), id: fields.id });
    return emptyFields();
  }
  const colon = line.indexOf(':');
  if (colon === 0) return fields;
  const name = colon === -1 ? line : line.slice(0, colon);
  const value = colon === -1 ? '' : line.slice(colon + (line[colon + 1] === ' ' ? 2 : 1));
  const length = fields.length + line.length;
  switch (name) {
    case 'event': return { ...fields, event: value, length };
    case 'data':
      fields.data.push(value);
      return { ...fields, length };
    case 'id': return value.includes('\u0000') ? fields : { ...fields, id: value, length };
    default: return fields;
  }
}
