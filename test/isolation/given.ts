import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { decide, parsePolicy } from '@caisson/authority';
import { Seccomp, type Allowed, type HostFacts, type IsolationSpec, type Policy, type RunRequest, type RuntimeFacts } from '@caisson/contract';
import { compile, type CompileInput, type Placement } from '@caisson/isolation';

const PROFILES = join(import.meta.dirname, '../../profiles');
const POLICY_PATH = join(PROFILES, 'policies/default.json');

export const shippedPolicy: Policy = parsePolicy(readFileSync(POLICY_PATH, 'utf8'), POLICY_PATH);
export const shippedSeccomp: Seccomp = Seccomp.parse(JSON.parse(readFileSync(join(PROFILES, 'seccomp/default.json'), 'utf8')));

export function runtime(facts: Partial<RuntimeFacts> = {}): RuntimeFacts {
  return { name: 'a', path: '/usr/bin/a', version: '1', guestKernel: 'host', checkpoint: false, controlChannel: true, userInside: 'spec', mountsWorkspaces: true, mountsImages: true, networks: true, mountsSecrets: true, typicalLaunchMs: 10, ...facts };
}

/** A host that has everything except a virtual machine monitor. */
export const goodHost: HostFacts = {
  kernel: '6.12.0',
  arch: 'x64',
  rootless: false,
  cgroup: { mode: 'v2', writable: true, controllers: ['cpu', 'memory', 'pids'], swapAccounting: true },
  swapBytes: 0,
  userNamespaces: 15_000,
  seccomp: true,
  landlockAbi: 6,
  runtimes: [runtime(), runtime({ name: 'b', guestKernel: 'own', typicalLaunchMs: 120 })],
  missing: { container: null, gvisor: null, microvm: { what: 'no virtual machine monitor', how: 'wait for the driver' } },
  noGate: null,
};

export const placement: Placement = {
  rootfs: '/var/lib/caisson/images/host/rootfs',
  initPath: '/var/lib/caisson/images/host/init',
  hostUid: 1_879_048_192,
  hostGid: 1_879_048_192,
  cgroupsPath: '/caisson/sbx-0123456789abcdef',
  swapAccounting: true,
  socketLimit: false,
  arch: 'x64',
};

export function allowed(request: Partial<RunRequest> = {}): Allowed {
  const decision = decide({ argv: ['true'], ...request }, shippedPolicy);
  if (decision.effect === 'deny') throw new Error(decision.reason);
  return decision;
}

/** Of an authority that one sandbox alone trusts. Nothing here reads more of it than its form. */
export const CERTIFICATE = '-----BEGIN CERTIFICATE-----\nbm90IG9uZSB0aGF0IGFueWJvZHkgY291bGQgdHJ1c3Q=\n-----END CERTIFICATE-----\n';

export function specFor(request: Partial<RunRequest> = {}, more: Pick<CompileInput, 'terminals' | 'network' | 'certificate' | 'image' | 'secrets'> = {}): IsolationSpec {
  const compiled = compile({ id: 'sbx-0123456789abcdef', decision: allowed(request), host: goodHost, seccomp: shippedSeccomp, ...more });
  if ('refused' in compiled) throw new Error(compiled.refused.message);
  return compiled;
}
