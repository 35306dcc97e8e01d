import { randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import type { AnyLease, FileLease, FileRule, InjectedRule, Lease, SecretRule, SecretSource, VaultField } from '@caisson/contract';
import { resolveSource, Vault, type Ground } from '@caisson/vault';

export const SANDBOX = 'sbx-0000000000000001';
export const OTHER = 'sbx-0000000000000002';
export const HOST = 'api.example.com';
/** What no error, list or log may hold any part of. */
export const CANARY = 'cnry-5up3r-s3cr3t-v4lu3';

export interface Files extends Disposable {
  readonly dir: string;
  /** Writes a file and says its path. */
  file(name: string, content: string | Buffer, mode?: number): string;
  /** A program of one shell script. */
  program(name: string, script: string): string;
}

export function files(): Files {
  const dir = mkdtempSync(`${tmpdir()}/caisson-vault-`);
  const file = (name: string, content: string | Buffer, mode = 0o600): string => {
    const path = `${dir}/${name}`;
    writeFileSync(path, content);
    chmodSync(path, mode);
    return path;
  };
  return { dir, file, program: (name, script) => file(name, `#!/bin/sh\n${script}\n`, 0o700), [Symbol.dispose]: () => rmSync(dir, { recursive: true, force: true }) };
}

export interface Kv extends AsyncDisposable {
  readonly address: string;
  readonly asked: readonly IncomingMessage[];
}

/** A server that answers as it is told: HashiCorp Vault, or something that claims to be. */
export async function kvServer(respond: (request: IncomingMessage, response: ServerResponse) => void): Promise<Kv> {
  const asked: IncomingMessage[] = [];
  const server = createServer((request, response) => {
    asked.push(request);
    respond(request, response);
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return {
    address: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise<void>((done) => server.close(() => done()));
    },
  };
}

export const json = (body: unknown, status = 200) => (_request: IncomingMessage, response: ServerResponse): void => {
  response.writeHead(status, { 'content-type': 'application/json' }).end(typeof body === 'string' ? body : JSON.stringify(body));
};

/** What KV version 2 answers. */
export const kvAnswer = (data: unknown): unknown => ({
  request_id: 'b4a5', lease_id: '', renewable: false, lease_duration: 0,
  data: { data, metadata: { created_time: '2026-11-27T00:00:00Z', deletion_time: '', destroyed: false, version: 3 } },
});

export const inKv = (address: string, more: Partial<VaultField> = {}): SecretSource => ({ vault: { address, path: 'app/github', field: 'token', token: 'env:VAULT_TOKEN', ...more } });

/** A look-up may take as long as the machine does; a test of the time-out has one of its own. */
export const GROUND: Ground = { env: { PATH: process.env['PATH'], HOME: '/nonexistent', VAULT_TOKEN: 'hvs.token', API_KEY: CANARY }, timeoutMs: 10_000 };

/** What a reference stands for, or why it stands for nothing. */
export async function look(source: SecretSource, ground: Ground = GROUND): Promise<string> {
  const found = await resolveSource(source, ground);
  return 'why' in found ? `refused: ${found.why}` : found.value.toString('utf8');
}

export const rule = (from: SecretSource, more: Partial<InjectedRule> = {}): SecretRule => ({ from, hosts: [HOST], ...more });

export const fileRule = (from: SecretSource, more: Partial<FileRule> = {}): SecretRule => ({ from, file: 'secret', ...more });

/** Terms that no rule of the tests has. */
export const OTHER_TERMS: readonly Partial<Lease>[] = [{ at: 'header:x-amz-meta-k' }, { at: 'bearer' }, { methods: ['GET', 'PUT', 'DELETE'] }, { methods: [] }, { paths: ['/**'] }, { paths: [] }];

/** Leases of secrets that go with requests. */
export function sent(leases: readonly AnyLease[]): readonly Lease[] {
  return leases.map((lease) => {
    if ('file' in lease) throw new Error('it is a file');
    return lease;
  });
}

/** Leases of secrets that are files. */
export function filed(leases: readonly AnyLease[]): readonly FileLease[] {
  return leases.map((lease) => {
    if (!('file' in lease)) throw new Error('it is no file');
    return lease;
  });
}

export interface Clock {
  ms: number;
}

export function openVault(rules: Readonly<Record<string, SecretRule>>, { clock = { ms: 1_000_000 }, ground = GROUND }: { readonly clock?: Clock; readonly ground?: Ground } = {}): Vault {
  return new Vault({ rules, ground, now: () => clock.ms, randomBytes });
}

export async function leaseOne(vault: Pick<Vault, 'lease'>, secret: string, { sandbox = SANDBOX, expiresMs = null }: { readonly sandbox?: string; readonly expiresMs?: number | null } = {}): Promise<Lease> {
  const [lease] = sent(await vault.lease({ sandbox, secrets: [secret], expiresMs }));
  if (lease === undefined) throw new Error('there is no lease');
  return lease;
}
