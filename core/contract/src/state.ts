/**
 * Where an instance of Caisson keeps things. What must outlive a reboot is below `dir`, the value of CAISSON_DIR;
 * sockets, bundles and images are below `run`: Unix socket paths are limited to 107 bytes, and the uids of
 * sandboxes must be able to pass through every folder above an image, whatever the modes above `dir`.
 */
export interface StatePaths {
  readonly dir: string;
  readonly run: string;
  /** The folders from the first of our own down to `run`, in order: who owns one of them owns every socket below. */
  readonly ownFolders: readonly string[];
  readonly policy: string;
  readonly evidence: string;
  /** The keys by which the log is sealed; not below the log, so that who copies the log does not copy them. */
  readonly ring: string;
  /** The key that wraps those of the ring, beside the key of the log. */
  readonly ringWrap: string;
  /** Says where the evidence log is archived, where that is wanted. */
  readonly archiveConfig: string;
  /** What the archiver keeps and says of itself; below the evidence, which it reads from inside. */
  readonly archive: string;
  /** Says which witnesses countersign the heads of the evidence log, where that is wanted. */
  readonly witnessesConfig: string;
  /** The last head that enough witnesses have signed, and what the feeder says of itself. */
  readonly witness: string;
  /** Says which authorities time-stamp the heads of the evidence log, where that is wanted. */
  readonly timestampsConfig: string;
  /** The heads that are time-stamped, each with its token, and what the feeder says of it. */
  readonly timestamps: string;
  readonly log: string;
  readonly controlSocket: string;
  /** The HTTP API. */
  readonly apiSocket: string;
  readonly launcherSocket: string;
  /** The launcher's keeper of sandboxes that stay. */
  readonly keeperSocket: string;
  readonly scribeSocket: string;
  /** The scribe's second door, for its own user and root alone: to open what is sealed, and to erase keys. */
  readonly scribeKeysSocket: string;
  readonly supervisorSocket: string;
  /** The gate, by which sandboxes reach the network. */
  readonly gateSocket: string;
  /** The vault, for control, which leases secrets to sandboxes, for the gate, which gets those that go with requests, and for the launcher, which gets those that are files. */
  readonly vaultSocket: string;
  readonly vaultGateSocket: string;
  readonly vaultLauncherSocket: string;
  /** File that says where the gate's network namespace is. */
  readonly gateNamespace: string;
  readonly sandboxes: string;
  /** Output of execs; below `dir`, because what is below `run` may be memory. */
  readonly journals: string;
  readonly workspaces: string;
  /** Memory of snapshots. */
  readonly checkpoints: string;
  /** Where workspaces are mounted while they are in use. */
  readonly mounts: string;
  readonly images: string;
  readonly runtimes: string;
  /** Holds one folder for each sandbox with a link to the gate: what the gate tells it of refusals. */
  readonly denials: string;
  /** Holds one folder for each sandbox that sees the records of its own calls. */
  readonly mirrors: string;
  /** What who writes them says of itself. */
  readonly mirrorStatus: string;
}

export interface Surroundings {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly uid: number;
  /** Resolves a path to an absolute one. */
  readonly resolve: (path: string) => string;
}

/** FNV-1a, 64 bits: names an instance by its state directory; it keeps no secret and needs no strength. */
export function instanceId(dir: string): string {
  let hash = 0xcbf29ce484222325n;
  for (const unit of dir) hash = BigInt.asUintN(64, (hash ^ BigInt(unit.codePointAt(0) ?? 0)) * 0x100000001b3n);
  return hash.toString(16).padStart(16, '0');
}

/** The paths of the instance that the environment names by CAISSON_DIR; by default that of the user. */
export function statePaths({ env, uid, resolve }: Surroundings): StatePaths {
  const named = env['CAISSON_DIR'];
  const home = env['HOME'] ?? '/';
  const ownState = uid === 0 ? '/var/lib/caisson' : `${env['XDG_STATE_HOME'] || `${home}/.local/state`}/caisson`;
  const dir = resolve(named === undefined || named === '' ? ownState : named);
  const given = env['XDG_RUNTIME_DIR'] || null;
  const above = uid === 0 ? '/run' : (given ?? `/tmp/caisson-${uid}`);
  const run = `${above}/caisson/${instanceId(dir)}`;
  const ownFolders = [...(uid === 0 || given !== null ? [] : [above]), `${above}/caisson`, run];
  return {
    dir,
    run,
    ownFolders,
    policy: `${dir}/policy.json`,
    evidence: `${dir}/evidence`,
    ring: `${dir}/evidence-ring`,
    ringWrap: `${dir}/evidence-key/ring.key`,
    archiveConfig: `${dir}/archive.json`,
    archive: `${dir}/evidence/archive`,
    witnessesConfig: `${dir}/witnesses.json`,
    witness: `${dir}/evidence/witness`,
    timestampsConfig: `${dir}/timestamps.json`,
    timestamps: `${dir}/evidence/timestamps`,
    log: `${dir}/log/caisson.log`,
    controlSocket: `${run}/control/control.sock`,
    apiSocket: `${run}/control/api.sock`,
    launcherSocket: `${run}/launcher/launcher.sock`,
    keeperSocket: `${run}/launcher/keeper.sock`,
    scribeSocket: `${run}/scribe/scribe.sock`,
    scribeKeysSocket: `${run}/scribe/keys.sock`,
    supervisorSocket: `${run}/supervisor.sock`,
    gateSocket: `${run}/gate/gate.sock`,
    vaultSocket: `${run}/vault/vault.sock`,
    vaultGateSocket: `${run}/vault/gate.sock`,
    vaultLauncherSocket: `${run}/vault/launcher.sock`,
    gateNamespace: `${run}/launcher/gate`,
    sandboxes: `${run}/sandboxes`,
    journals: `${dir}/journals`,
    workspaces: `${dir}/workspaces`,
    checkpoints: `${dir}/checkpoints`,
    mounts: `${run}/mounts`,
    images: `${run}/images`,
    runtimes: `${run}/runtimes`,
    denials: `${run}/denials`,
    mirrors: `${run}/mirrors`,
    mirrorStatus: `${run}/mirror/status.json`,
  };
}
