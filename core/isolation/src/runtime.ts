import { levelOf, type HostFacts, type IsolationSpec, type Level, type Mount, type RuntimeFacts } from '@caisson/contract';

/** What a sandbox needs of its runtime beside a level. */
export interface RuntimeNeeds {
  readonly level: Level;
  /** Whether it mounts a persistent workspace. */
  readonly workspace: boolean;
  readonly image: IsolationSpec['image'];
  /** Whether it has a link to the gate. */
  readonly network: boolean;
  /** Whether it has secrets as files. */
  readonly secrets: boolean;
  /** Whether it sees the records of its own calls. */
  readonly mirror: boolean;
}

export function needsOf({ level, image, mounts, network }: Pick<IsolationSpec, 'level' | 'image' | 'mounts' | 'network'>): RuntimeNeeds {
  const has = (kind: Mount['kind']): boolean => mounts.some((mount) => mount.kind === kind);
  return { level, image, network: network === 'gate', workspace: has('workspace'), secrets: has('secrets'), mirror: has('mirror') };
}

/**
 * The fastest runtime that delivers exactly this level, hands pid 1 its lanes and can mount what is asked for; null where
 * the host has none. Compared by facts: another runtime needs no change here.
 */
export function chooseRuntime({ level, workspace, image, network, secrets, mirror }: RuntimeNeeds, host: HostFacts): RuntimeFacts | null {
  const fitting = host.runtimes.filter((runtime) =>
    levelOf(runtime) === level && runtime.controlChannel && (runtime.mountsWorkspaces || !workspace) && (runtime.mountsImages || image === 'host') && (runtime.networks || !network) && (runtime.mountsSecrets || !(secrets || mirror)));
  return fitting.reduce<RuntimeFacts | null>(
    (fastest, runtime) => (fastest === null || runtime.typicalLaunchMs < fastest.typicalLaunchMs ? runtime : fastest),
    null,
  );
}

/** Why `chooseRuntime` found nothing, and what can be done. */
export function noRuntime(needs: RuntimeNeeds, host: HostFacts): { readonly what: string; readonly how: string } {
  const missing = host.missing[needs.level];
  if (missing !== null) return missing;
  if (chooseRuntime({ ...needs, workspace: false, image: 'host', network: false, secrets: false, mirror: false }, host) === null) return { what: 'no runtime hands pid 1 a control channel', how: 'run ./caisson doctor' };
  const names = host.runtimes.filter((runtime) => levelOf(runtime) === needs.level).map(({ name }) => name).join(', ');
  const mounts = [...(needs.workspace ? ['a persistent workspace'] : []), ...(needs.image === 'host' ? [] : ['an image other than host']), ...(needs.secrets ? ['files of secrets'] : []), ...(needs.mirror ? ['a mirror of its records'] : [])];
  const lacks = [...(mounts.length === 0 ? [] : [`${mounts.join(' or ')} cannot be mounted by`]), ...(needs.network ? ['a network cannot be had from'] : [])];
  return { what: `${lacks.join(', or ')} ${names}, the only runtime of that level`, how: `install one that can: apt-get install crun` };
}
