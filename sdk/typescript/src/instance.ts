/** What the place of an instance is found from. */
export interface Surroundings {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly uid: number;
  /** Resolves a path to an absolute one. */
  readonly resolve: (path: string) => string;
}

/** FNV-1a, 64 bits, of the state directory: the name of the instance below its run directory. */
function instanceId(dir: string): string {
  let hash = 0xcbf29ce484222325n;
  for (const unit of dir) hash = BigInt.asUintN(64, (hash ^ BigInt(unit.codePointAt(0) ?? 0)) * 0x100000001b3n);
  return hash.toString(16).padStart(16, '0');
}

/**
 * The socket of the instance that CAISSON_DIR names, by default that of the user. The rule is that of Caisson itself;
 * a test holds the two together.
 */
export function instanceSocket({ env, uid, resolve }: Surroundings): string {
  const home = env['HOME'] ?? '/';
  const ownState = uid === 0 ? '/var/lib/caisson' : `${env['XDG_STATE_HOME'] || `${home}/.local/state`}/caisson`;
  const dir = resolve(env['CAISSON_DIR'] || ownState);
  const above = uid === 0 ? '/run' : (env['XDG_RUNTIME_DIR'] || `/tmp/caisson-${uid}`);
  return `${above}/caisson/${instanceId(dir)}/control/api.sock`;
}
