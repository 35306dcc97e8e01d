import type { Socket } from 'node:net';
import { z } from 'zod';
import { ApprovalAnswer, ApprovalId, CaissonError, CertificateAuthority, Lease, NetworkPolicy, NetworkRequest, SandboxId } from '@caisson/contract';
import { answer, Channel, type Verbs } from '@caisson/wire';
import type { AdmissionMessage } from './admitted.ts';
import type { Gate } from './gate.ts';

const Admission: z.ZodType<AdmissionMessage> = z.strictObject({ sandbox: SandboxId, caller: z.string().min(1).max(256).exactOptional(), address: z.ipv4(), network: NetworkRequest, policy: NetworkPolicy, authority: CertificateAuthority.nullable(), leases: z.array(Lease).max(32) });
const Decision = z.strictObject({ sandbox: SandboxId, approval: ApprovalId, answer: ApprovalAnswer });
const Of = z.strictObject({ sandbox: SandboxId });

/** Serves control on one connection: a closed set of verbs. */
export function serveGate(socket: Socket, gate: Gate): void {
  const verbs: Verbs = {
    admit: async (parameters) => gate.admit(read(Admission, parameters)),
    dismiss: async (parameters) => gate.dismiss(read(Of, parameters).sandbox, 'the sandbox is closed'),
    state: async (parameters) => gate.state(read(Of, parameters).sandbox),
    held: async () => gate.held(),
    decide: async (parameters) => {
      const { sandbox, approval, answer: given } = read(Decision, parameters);
      return gate.decide(sandbox, approval, given);
    },
    /** Is never answered: when it fails, the gate is another. */
    hold: () => new Promise(() => undefined),
  };
  const channel: Channel = new Channel(socket, { onMessage: (message) => void answer(verbs, message, channel).catch(() => channel[Symbol.dispose]()) });
}

function read<T>(schema: z.ZodType<T>, value: unknown): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new CaissonError('FRAME_INVALID', { detail: `${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'malformed'}` });
}
