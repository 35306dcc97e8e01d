import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import type { CertificateAuthority, EgressRule } from '@caisson/contract';
import { RemoteGate } from '@caisson/egress';
import type { GateGround, GatePlace, LiveMachine } from '@caisson/runtime';
import { openScene, type Scene } from '../egress/given.ts';
import { recordOf, type Recorded } from '../egress/record.ts';
import { HOME } from '../harness.ts';
import { trusting } from './authorities.ts';
import { specFor, type Ground } from './given.ts';
import { runIn } from './suite.ts';

/** A sandbox of a driver under test, with a link to the gate of a whole Caisson. */
export interface Linked extends Recorded, AsyncDisposable {
  readonly id: string;
  readonly machine: LiveMachine;
  readonly address: string;
  /** What a command in it prints. @throws AssertionError when it fails */
  said(argv: readonly string[], env?: Readonly<Record<string, string>>): Promise<string>;
  python(program: string, ...args: readonly string[]): Promise<readonly string[]>;
  /** Gives it these rules in the place of those that it has. */
  admit(rules: readonly EgressRule[]): Promise<void>;
}

export interface LinkOptions {
  /** Default: it is known to the gate, and may reach nothing. */
  readonly rules?: readonly EgressRule[];
  /** Hosts that it trusts the gate for. Default: none, and it has no authority of its own. */
  readonly certified?: readonly string[];
}

/** A fake Internet and a Caisson in it, whose gate is that of drivers under test. */
export interface LinkBench extends AsyncDisposable {
  readonly scene: Scene;
  readonly gate: GateGround;
  open(ground: Ground, options?: LinkOptions): Promise<Linked>;
  /** Names of the links that the gate has. */
  links(): readonly string[];
}

export async function openLinkBench(): Promise<LinkBench> {
  const scene = await openScene();
  const { paths, net } = scene;
  const remote = new RemoteGate(paths.gateSocket, { certificateAuthorities: [net.caPem] });
  const { uid, gid } = statSync(`/proc/${await scene.pidOf('gate')}`);
  const gate = { tool: `${HOME}/build/native/caisson-gate`, place: paths.gateNamespace, denials: { folder: paths.denials, uid, gid } };
  return {
    scene, gate,
    async open(ground, { rules = [], certified = [] } = {}) {
      const { mounts, ...spec } = specFor(ground.host, { pids: 100 });
      const plain = { ...spec, network: 'gate', mounts: mounts.toSpliced(mounts.findIndex(({ kind }) => kind === 'init'), 0, { kind: 'denials' }) } as const;
      const authority: CertificateAuthority | null = certified.length === 0 ? null : await remote.certify({ sandbox: plain.id, names: certified, expiresMs: Date.now() + 3_600_000 });
      const machine = await ground.driver.launch(authority === null ? plain : trusting(plain, authority.certificate), { signal: new AbortController().signal });
      const { id } = plain;
      const { address } = machine;
      assert.ok(address !== null);
      const said = async (argv: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<string> => {
        const { end, stdout, stderr } = await runIn(machine, argv, { env: ['PATH=/usr/bin:/bin', ...Object.entries(env).map(([name, value]) => `${name}=${value}`)] });
        assert.deepEqual(end, { kind: 'exited', code: 0 }, stderr.toString().slice(-2_000));
        return stdout.toString();
      };
      const admit = (next: readonly EgressRule[]): Promise<void> => remote.admit({ sandbox: id, address, network: { rules: [...next] }, authority });
      await admit(rules);
      return {
        id, machine, address, said, admit, ...recordOf(paths, id),
        python: async (program, ...args) => (await said(['python3', '-c', program, ...args])).split('\n').filter((line) => line !== ''),
        async [Symbol.asyncDispose]() {
          await remote.dismiss(id);
          await machine.close();
          await ground.driver.settled();
        },
      };
    },
    links: () => linksOf(gate),
    async [Symbol.asyncDispose]() {
      remote[Symbol.dispose]();
      await scene[Symbol.asyncDispose]();
    },
  };
}

export function linksOf({ place }: Pick<GateGround, 'place'>): readonly string[] {
  const at = JSON.parse(readFileSync(place, 'utf8')) as GatePlace;
  if ('problem' in at) return [];
  const text = execFileSync('nsenter', [`--net=${at.netns}`, '--', 'ip', '-brief', 'link'], { encoding: 'utf8' });
  return text.split('\n').flatMap((line) => /^(s\d+)\b/.exec(line)?.[1] ?? []);
}

/** Processes of the host that are in this network namespace, such as `net:[4026532000]`. */
export function processesIn(namespace: string): readonly string[] {
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name) && linkOf(`/proc/${name}/ns/net`) === namespace);
}

function linkOf(path: string): string | null {
  try {
    return readlinkSync(path);
  } catch {
    return null;
  }
}
