import type { IsolationSpec } from '@caisson/contract';
import { capabilities } from './capabilities.ts';
import { cgroups } from './cgroups.ts';
import { firstLack, type Refusal } from './host.ts';
import { landlock } from './landlock.ts';
import type { CompileInput } from './mechanism.ts';
import { mounts } from './mounts.ts';
import { namespaces } from './namespaces.ts';
import { paths } from './paths.ts';
import { rlimits } from './rlimits.ts';
import { seccomp } from './seccomp.ts';
import { users } from './users.ts';

/** What isolates one sandbox, or what the host lacks to do it. No mechanism is skipped: all of them, or a refusal. */
export function compile(input: CompileInput): IsolationSpec | Refusal {
  const { id, decision, host, image = 'host', workspace, network = false, secrets, mirror } = input;
  return (
    firstLack({ level: decision.level, image, workspace: workspace !== undefined, network, secrets: secrets !== undefined, mirror: mirror !== undefined }, host) ?? {
      id,
      level: decision.level,
      ...namespaces(input),
      ...users(input),
      ...capabilities(input),
      ...mounts(input),
      ...paths(input),
      ...seccomp(input),
      ...landlock(input),
      ...cgroups(input),
      ...rlimits(input),
    }
  );
}
