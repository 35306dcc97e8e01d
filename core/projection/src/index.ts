export { parseState, stateBytes, stateHash } from './bytes.ts';
export { compareReplay, createCheckpoint, openCheckpointFile, type Facts, type Making, type StateCheckpoint } from './checkpoint.ts';
export { fold, foldAll } from './fold.ts';
export { holdingOf, inspectAgent, type AgentView } from './inspect.ts';
export { PointerCheck, type BadPointer } from './pointers.ts';
export { openProjection, type Logged, type Position, type Projection } from './projection.ts';
export { emptyState, type Agent, type Failure, type Sandbox, type State } from './state.ts';
export { auditView, EVENT_GENESIS, eventView, type AuditRecord, type EventRecord } from './views.ts';
