import type { CreateRequest, Json } from '@caisson/contract';
import type { Box } from './box.ts';
import { secretsThere } from './credentials.ts';
import { canonicalDigest } from './record.ts';
import type { ForkRequest } from './service.ts';

/** What a fork asks for: what it says itself, and else what its original asked for. */
function forkOf(original: CreateRequest, fork: Omit<ForkRequest, 'memory'>): CreateRequest {
  return { ...inherited(original, fork), ...(original.auditMirror !== undefined && { auditMirror: original.auditMirror }), ...fork };
}

/** What a fork of a sandbox is made with: what it asks for, and else the rules of the network and the secrets that its original has at that time, in milliseconds since 1970 UTC, leased anew. */
export function made(box: Box, fork: Omit<ForkRequest, 'memory'>, nowMs: number): CreateRequest {
  return { ...forkOf(box.facts.request, fork), ...(fork.network === undefined && box.network !== null && { network: box.network }), ...(fork.secrets === undefined && { secrets: secretsThere(box.credentials, nowMs) }) };
}

/** What a fork takes over of the request that made its original: all but the original's name, and what it started from. */
function inherited({ level, image, limits, env, labels, ttlMs, idleMs, keepAlive, terminals, network, secrets }: CreateRequest, fork: ForkRequest): CreateRequest {
  const ownIdle = fork.idleMs !== undefined || fork.keepAlive !== undefined;
  return {
    ...(level && { level }), ...(image && { image }), ...(limits && { limits }), ...(env && { env }), ...(labels && { labels }), ...(ttlMs && { ttlMs }),
    ...(terminals !== undefined && { terminals }), ...(network && { network }), ...(secrets && { secrets }), ...(!ownIdle && idleMs && { idleMs }), ...(!ownIdle && keepAlive !== undefined && { keepAlive }),
  };
}

/** What makes a request the same as another: what is asked for, and what it starts from. */
export function digestOf(request: CreateRequest, from: string | null): string {
  return canonicalDigest({ ...request, ...(from === null ? {} : { from }) } as unknown as Json);
}
