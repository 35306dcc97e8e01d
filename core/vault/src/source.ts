import { isUtf8 } from 'node:buffer';
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import type { KubernetesKey, SecretSource, VaultField } from '@caisson/contract';
import { readSecretKey } from './kubernetes.ts';
import { readField } from './kv.ts';
import { runProgram } from './program.ts';
import type { Resolved } from './resolved.ts';

/** Where references are looked up. */
export interface Ground {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Longest that a program or a server may take, in milliseconds. Default 10 000. */
  readonly timeoutMs?: number;
  /** Where a pod has what its service account is. Default SERVICE_ACCOUNT. */
  readonly serviceAccount?: string;
}

/** Longest value, in bytes. */
const VALUE_MAX = 64 * 1024;
const TOO_LONG = `it is longer than ${VALUE_MAX} bytes`;
const TIMEOUT_MS = 10_000;
/** What may come with the longest value: a line break, and one byte more that shows that it is too long. */
const SLACK_BYTES = 3;
const SERVICE_ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';

/**
 * Looks a reference up. What is wrong is an answer: whatever else is thrown on the way may quote the value, and is not told.
 *
 * @param read what is made of what was found. Default: a text that can stand in a field of a request
 */
export async function resolveSource(source: SecretSource, ground: Ground, read: (bytes: Buffer) => Resolved = judge): Promise<Resolved> {
  const found = await look(source, ground).catch(() => ({ why: 'it cannot be read' }));
  if ('why' in found) return found;
  if (found.value.length <= VALUE_MAX + SLACK_BYTES - 1) return read(found.value);
  found.value.fill(0);
  return { why: TOO_LONG };
}

async function look(source: SecretSource, ground: Ground): Promise<Resolved> {
  if (typeof source === 'string') return source.startsWith('env:') ? fromEnvironment(source.slice(4), ground) : fromFile(source.slice(5));
  const timeoutMs = ground.timeoutMs ?? TIMEOUT_MS;
  if ('exec' in source) return runProgram(source.exec, { env: programEnv(ground), timeoutMs, outputMax: VALUE_MAX + SLACK_BYTES });
  return 'vault' in source ? fromVault(source.vault, ground, timeoutMs) : fromKubernetes(source.kubernetes, ground, timeoutMs);
}

/** A program gets what it takes to find its files, and no other secret of whoever started Caisson. */
function programEnv({ env }: Ground): Readonly<Record<string, string>> {
  return Object.fromEntries(['HOME', 'PATH'].flatMap((name) => (env[name] === undefined ? [] : [[name, env[name]]])));
}

function fromEnvironment(name: string, { env }: Ground): Resolved {
  const value = Object.hasOwn(env, name) ? env[name] : undefined;
  return value === undefined ? { why: 'the variable was not set when Caisson was started' } : { value: Buffer.from(value) };
}

async function fromVault(field: VaultField, ground: Ground, timeoutMs: number): Promise<Resolved> {
  const token = await resolveSource(field.token, ground);
  if ('why' in token) return { why: `its token: ${token.why}` };
  try {
    return await readField(field, { token: token.value, timeoutMs });
  } finally {
    token.value.fill(0);
  }
}

/** What is not named the pod has; a server that is named gets nothing of it. */
async function fromKubernetes({ namespace: space, server, token: tokenFrom, ca: caFrom, ...key }: KubernetesKey, ground: Ground, timeoutMs: number): Promise<Resolved> {
  const own = (name: string): `file:/${string}` => `file:/${(ground.serviceAccount ?? SERVICE_ACCOUNT).slice(1)}/${name}`;
  const address = server ?? clusterAddress(ground);
  if (address === null) return { why: 'no server is named, and this is no pod: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set' };
  const namespace = space === undefined ? await resolveSource(own('namespace'), ground) : { value: Buffer.from(space) };
  if ('why' in namespace) return { why: `the namespace of the pod: ${namespace.why}` };
  if (!NAMESPACE.test(namespace.value.toString())) return { why: 'the namespace of the pod is no name' };
  const authority = caFrom ?? (server === undefined ? own('ca.crt') : undefined);
  const ca = authority === undefined ? undefined : await look(authority, ground); // many lines, and no secret
  if (ca !== undefined && 'why' in ca) return { why: `its ca: ${ca.why}` };
  const token = await resolveSource(tokenFrom ?? own('token'), ground);
  if ('why' in token) return { why: `its token: ${token.why}` };
  try {
    return await readSecretKey(key, { server: address, namespace: namespace.value.toString(), token: token.value, ...(ca !== undefined && { ca: ca.value }), timeoutMs });
  } finally {
    token.value.fill(0);
  }
}

const NAMESPACE = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

/** The API server as every pod is told of it. */
function clusterAddress({ env: { KUBERNETES_SERVICE_HOST: host = '', KUBERNETES_SERVICE_PORT: port = '' } }: Ground): string | null {
  if (!/^(?:[A-Za-z0-9.-]+|[0-9A-Fa-f:.]+)$/.test(host) || !/^\d{1,5}$/.test(port)) return null;
  return `https://${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** Opened without waiting, because what is named may be a pipe; and judged as it was opened, not as it was named. */
async function fromFile(path: string): Promise<Resolved> {
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY).catch((error: NodeJS.ErrnoException) => error.code ?? 'unknown');
  if (typeof file === 'string') return { why: `the file cannot be opened (${file})` };
  const bytes = Buffer.alloc(VALUE_MAX + SLACK_BYTES);
  try {
    const found = await file.stat();
    if (!found.isFile()) return { why: 'it is not a regular file' };
    if ((found.mode & 0o022) !== 0) return { why: `others than its owner can write the file (mode ${(found.mode & 0o777).toString(8)}): chmod go-w` };
    let length = 0;
    for (let read = 1; read > 0 && length < bytes.length; length += read) read = (await file.read(bytes, length, bytes.length - length)).bytesRead;
    return { value: Buffer.from(bytes.subarray(0, length)) };
  } catch (error) {
    return { why: `the file cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown'})` };
  } finally {
    bytes.fill(0);
    await file.close();
  }
}

/** Takes one line break off the end, and refuses what could not stand in a field of a request, or would end it (RFC 9110 §5.5). */
function judge(bytes: Buffer): Resolved {
  const value = bytes.subarray(0, bytes.length - lineBreakAtEnd(bytes));
  const why = faultOf(value);
  if (why === null) return { value };
  bytes.fill(0);
  return { why };
}

function lineBreakAtEnd(bytes: Buffer): number {
  if (bytes.at(-1) !== 0x0a) return 0;
  return bytes.at(-2) === 0x0d ? 2 : 1;
}

/** As it is, for the last line break of a private key belongs to it. */
export function judgeFile(bytes: Buffer): Resolved {
  const why = wrongSize(bytes);
  if (why === null) return { value: bytes };
  bytes.fill(0);
  return { why };
}

function wrongSize(value: Buffer): string | null {
  if (value.length === 0) return 'it is empty';
  return value.length > VALUE_MAX ? TOO_LONG : null;
}

function faultOf(value: Buffer): string | null {
  const size = wrongSize(value);
  if (size !== null) return size;
  if (value.some((byte) => (byte < 0x20 && byte !== 0x09) || byte === 0x7f)) return 'it holds a line break or another control character';
  return isUtf8(value) ? null : 'it is not text in UTF-8';
}
