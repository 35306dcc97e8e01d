import { z } from 'zod';

/** Where a sandbox is in its life. `closed` and `lost` are ends: a sandbox in them runs nothing and never will. */
export const SANDBOX_STATES = ['creating', 'running', 'paused', 'restoring', 'closing', 'closed', 'lost'] as const;
export type SandboxState = (typeof SANDBOX_STATES)[number];
export const SandboxState: z.ZodType<SandboxState> = z.enum(SANDBOX_STATES);

/** What can happen to a sandbox. `lose`: its processes ended without being asked to. */
export const SANDBOX_EVENTS = ['started', 'pause', 'resume', 'restore', 'close', 'closed', 'lose'] as const;
export type SandboxEvent = (typeof SANDBOX_EVENTS)[number];

/** Every legal transition. What is not here does not happen. */
export const TRANSITIONS: Readonly<Record<SandboxState, Readonly<Partial<Record<SandboxEvent, SandboxState>>>>> = {
  creating: { started: 'running', close: 'closing', lose: 'lost' },
  running: { pause: 'paused', restore: 'restoring', close: 'closing', lose: 'lost' },
  paused: { resume: 'running', restore: 'restoring', close: 'closing', lose: 'lost' },
  restoring: { started: 'running', close: 'closing', lose: 'lost' },
  closing: { closed: 'closed', lose: 'lost' },
  closed: {},
  lost: {},
};

/** The state after the event, or null where the event is not legal in this state. */
export function nextState(state: SandboxState, event: SandboxEvent): SandboxState | null {
  return TRANSITIONS[state][event] ?? null;
}

/** Whether a sandbox in this state has ended for good. */
export function isOver(state: SandboxState): boolean {
  return Object.keys(TRANSITIONS[state]).length === 0;
}
