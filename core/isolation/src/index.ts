export { compile } from './compile.ts';
export type { CompileInput } from './mechanism.ts';
export { belowFloor } from './floor.ts';
export { DOCKER_WRITES, toDocker, type DockerContainer, type DockerPlacement } from './docker.ts';
export type { Refusal } from './host.ts';
export { toOci, type OciConfig, type Placement } from './oci.ts';
export type { TrustPlace } from './oci-mounts.ts';
export { boundArgs, USER_COUNTS, type CountsHook } from './user-counts.ts';
export { chooseRuntime, needsOf, noRuntime, type RuntimeNeeds } from './runtime.ts';
