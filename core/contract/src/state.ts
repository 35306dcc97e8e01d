/** Where an instance of Caisson keeps things; every path is below `dir`, the value of CAISSON_DIR. */
export interface StatePaths {
  readonly dir: string;
  readonly policy: string;
  readonly evidence: string;
  readonly controlSocket: string;
  readonly launcherSocket: string;
  readonly scribeSocket: string;
  readonly supervisorPid: string;
  readonly log: string;
  readonly sandboxes: string;
  readonly images: string;
}

export function statePaths(dir: string): StatePaths {
  return {
    dir,
    policy: `${dir}/policy.json`,
    evidence: `${dir}/evidence`,
    controlSocket: `${dir}/run/control/control.sock`,
    launcherSocket: `${dir}/run/launcher/launcher.sock`,
    scribeSocket: `${dir}/run/scribe/scribe.sock`,
    supervisorPid: `${dir}/run/supervisor.json`,
    log: `${dir}/log/caisson.log`,
    sandboxes: `${dir}/sandboxes`,
    images: `${dir}/images`,
  };
}

/** The state directory that the environment names: CAISSON_DIR, or the default of the user. */
export function stateDir(env: Readonly<Record<string, string | undefined>>, uid: number): string {
  const named = env['CAISSON_DIR'];
  if (named !== undefined && named !== '') return named;
  if (uid === 0) return '/var/lib/caisson';
  return `${env['XDG_STATE_HOME'] ?? `${env['HOME'] ?? '/tmp'}/.local/state`}/caisson`;
}
