import { ApprovalAnswer, Decided, HeldAttempt } from '@caisson/contract/api';
import { z } from 'zod';
import { part, route, type Route } from './route.ts';

/** A right of their own: what runs in a sandbox and may make others must not decide what it waits for itself. */
export const APPROVAL_ROUTES: readonly Route[] = [
  route({
    method: 'GET', path: '/v1/approvals', title: 'Lists what sandboxes wait for somebody to decide', right: 'approvals', answers: [{ status: 200, schema: z.strictObject({ approvals: z.array(HeldAttempt) }) }],
    handle: async ({ rooms }) => ({ approvals: await rooms.sandboxes.approvals() }),
  }),
  route({
    method: 'POST', path: '/v1/approvals/{approval}', title: 'Decides what a sandbox waits for', right: 'approvals', body: ApprovalAnswer, answers: [{ status: 200, schema: Decided }],
    handle: (call) => call.rooms.sandboxes.decideApproval(part(call, 'approval'), call.body, call.asking),
  }),
];
