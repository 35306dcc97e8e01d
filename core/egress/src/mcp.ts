import type { Fields } from './field-rules.ts';
import type { Refused } from './host.ts';
import { readJson } from './json-keys.ts';

/** One message of the Model Context Protocol to a server. */
export interface McpMessage {
  /** Null: it answers what the server has asked. */
  readonly method: string | null;
  /** Which tool `tools/call` calls. */
  readonly tool: string | null;
  /** Null: nothing is answered to it. */
  readonly id: string | number | null;
}

/** What a body holds; null: there is none. */
export type McpRead = { readonly messages: readonly McpMessage[]; readonly isBatch: boolean } | { readonly unclear: string } | null;

const MESSAGES_MOST = 64;
const NAME = /^[\u0021-\u007e]{1,128}$/;
const TOOL = /^[\u0020-\u007e]{1,128}$/;
/** What a message has (JSON-RPC 2.0 §4, §5), and what of its parameters is decided by. */
const MESSAGE_KEYS = ['jsonrpc', 'id', 'method', 'params', 'result', 'error'];
const CALL_KEYS = ['name', 'arguments', '_meta', 'task'];

/**
 * Reads the messages of a body. What two readers could read as two things is not clear: a charset or coding of its own, bytes
 * that are no UTF-8, keys that are there twice or are one key to a reader that does not look at capitals, or fields of the
 * request that name another message than the body does.
 */
export function readMcp(body: Buffer, fields: Fields): McpRead {
  if (body.length === 0) return null;
  const [type = '', ...types] = fields['content-type'] ?? [];
  if (types.length > 0 || !/^application\/json(?:[ \t]*;[ \t]*charset="?utf-8"?)?$/i.test(type)) return { unclear: 'a body that is read is application/json' };
  if (fields['content-encoding'] !== undefined) return { unclear: 'a body that is read has no coding' };
  const text = utf8(body);
  if (text === null) return { unclear: 'a body that is read is UTF-8, without a mark of byte order' };
  const read = readJson(text);
  if ('refused' in read) return { unclear: `a body that is read is clear: ${read.refused}` };
  const isBatch = Array.isArray(read.value);
  const values: readonly unknown[] = Array.isArray(read.value) ? read.value : [read.value];
  if (values.length === 0 || values.length > MESSAGES_MOST) return { unclear: `a body that is read holds 1 to ${MESSAGES_MOST} messages` };
  const messages: McpMessage[] = [];
  for (const value of values) {
    const message = readMessage(value);
    if ('refused' in message) return { unclear: message.refused };
    messages.push(message);
  }
  const other = saysOtherwise(messages, fields);
  return other === null ? { messages, isBatch } : { unclear: other };
}

function utf8(body: Buffer): string | null {
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(body);
    return text.startsWith('\ufeff') ? null : text;
  } catch {
    return null;
  }
}

function readMessage(value: unknown): McpMessage | Refused {
  if (!isObject(value) || value['jsonrpc'] !== '2.0') return { refused: 'a message is one of JSON-RPC 2.0' };
  if (hasTwin(value, MESSAGE_KEYS)) return { refused: 'a message has no key that differs from one of JSON-RPC in its letters only' };
  const { id = null } = value;
  if ('id' in value && typeof id !== 'string' && !Number.isSafeInteger(id)) return { refused: 'the id of a message is a text or a whole number' };
  const answers = ['result', 'error'].filter((key) => key in value).length;
  if ('method' in value) return answers === 0 ? readRequest(value, id as McpMessage['id']) : { refused: 'a message has a method or answers one, and not both' };
  return answers === 1 && id !== null && !('params' in value) ? { method: null, tool: null, id: null } : { refused: 'a message has a method, or answers one' };
}

function readRequest({ method, params }: Readonly<Record<string, unknown>>, id: McpMessage['id']): McpMessage | Refused {
  if (typeof method !== 'string' || !NAME.test(method)) return { refused: 'the method of a message is printable ASCII' };
  if (method !== 'tools/call') return method.toLowerCase() === 'tools/call' ? { refused: 'a method has the letters that it is known by' } : { method, tool: null, id };
  if (!isObject(params) || hasTwin(params, CALL_KEYS)) return { refused: 'the parameters of tools/call are an object with the keys that they are known by' };
  const { name } = params;
  return typeof name === 'string' && TOOL.test(name) && name.trim() === name ? { method, tool: name, id } : { refused: 'the name of a tool is printable ASCII' };
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Whether a key is another than a known one, and the same to a reader that folds letters, as the one of Go does. */
function hasTwin(value: object, known: readonly string[]): boolean {
  return Object.keys(value).some((key) => !known.includes(key) && known.includes(key.normalize('NFKC').toLowerCase()));
}

/** Whoever stands between may go by the fields `Mcp-Method` and `Mcp-Name` instead of the body (revision 2026-07-28 of the protocol). */
function saysOtherwise(messages: readonly McpMessage[], fields: Fields): string | null {
  const [first] = messages;
  for (const [field, said] of [['mcp-method', first?.method], ['mcp-name', first?.tool]] as const) {
    const values = fields[field];
    if (values === undefined) continue;
    if (field === 'mcp-name' && first?.tool === null && values.length === 1) continue; // it names a resource or a prompt
    if (messages.length !== 1 || values.length !== 1 || values[0] !== said) return `the field ${field} names another message than the body`;
  }
  return null;
}
