/** What needs no schema library: for the command line, which must start in milliseconds. */
export { CLIENT_STDIN_WINDOW, type ControlStatus, type FromControl, type ProcessStatus, type SupervisorStatus, type ToControl } from './control.ts';
export { EXIT, exitStatus, reasonFor, type Ending } from './outcome.ts';
export { statePaths, type StatePaths } from './state.ts';
export type { RunResult } from './result.ts';
export type { RunRequest } from './request.ts';
