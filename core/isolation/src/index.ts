export { compile } from './compile.ts';
export { belowFloor } from './floor.ts';
export type { Refusal } from './host.ts';
export { toOci, type OciConfig, type Placement } from './oci.ts';
export { chooseRuntime } from './runtime.ts';
