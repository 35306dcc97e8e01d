import type { Socket } from 'node:net';
import { z } from 'zod';
import { AnyLease, CaissonError, HostName, LeaseId, LeaseTerms, SandboxId, SecretFileName, SecretName, SecretNames } from '@caisson/contract';
import { answer, Channel, type Verbs } from '@caisson/wire';
import type { Vault } from './vault.ts';

const Leasing = z.strictObject({ sandbox: SandboxId, secrets: SecretNames, expiresMs: z.number().nullable() });
const Restoring = z.strictObject({ sandbox: SandboxId, leases: z.array(AnyLease).max(32) });
const OfSandbox = z.strictObject({ sandbox: SandboxId });
const OfAny = z.strictObject({ sandbox: SandboxId.exactOptional() });
const OfOne = z.strictObject({ sandbox: SandboxId, secret: SecretName });
const OfSecret = z.strictObject({ secret: SecretName });
const Filing = z.strictObject({ sandbox: SandboxId, lease: LeaseId, name: SecretFileName });
const Valuing = z.strictObject({ sandbox: SandboxId, lease: LeaseId, host: HostName, terms: LeaseTerms });

/** Serves control on one connection: everything but values. */
export function serveVault(socket: Socket, vault: Vault): void {
  serve(socket, {
    lease: (parameters) => vault.lease(read(Leasing, parameters)),
    restore: (parameters) => vault.restore(read(Restoring, parameters)),
    release: async (parameters) => vault.release(read(OfSandbox, parameters).sandbox),
    revoke: async (parameters) => vault.revoke(read(OfOne, parameters)),
    rotate: (parameters) => vault.rotate(read(OfSecret, parameters).secret),
    list: async (parameters) => vault.list(read(OfAny, parameters).sandbox),
    /** Is never answered: when it fails, the vault is another. */
    hold: () => new Promise(() => undefined),
  });
}

/** Serves the launcher on one connection: values of secrets that are files, and nothing else. */
export function serveFiles(socket: Socket, vault: Vault): void {
  serve(socket, { file: async (parameters) => vault.file(read(Filing, parameters)) });
}

/** Serves the gate on one connection: values of secrets that go with requests, and nothing else. */
export function serveValues(socket: Socket, vault: Vault): void {
  serve(socket, {
    async value(parameters) {
      const asked = read(Valuing, parameters);
      await vault.renew(asked);
      return vault.value(asked);
    },
  });
}

function serve(socket: Socket, verbs: Verbs): void {
  const channel: Channel = new Channel(socket, { onMessage: (message) => void answer(verbs, message, channel).catch(() => channel[Symbol.dispose]()) });
}

function read<T>(schema: z.ZodType<T>, value: unknown): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new CaissonError('FRAME_INVALID', { detail: `${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'malformed'}` });
}
