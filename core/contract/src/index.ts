export { ApprovalAnswer, ApprovalId, HeldAttempt, type Decided } from './approval.ts';
export { canonicalJson, type Json } from './canonical.ts';
export { CLIENT_STDIN_WINDOW, type ControlStatus, type FromControl, type ProcessStatus, type SupervisorStatus, type ToControl } from './control.ts';
export type { Allowed, Decision, Denied } from './decision.ts';
export {
  CaissonError, ERROR_CODES, errorRow, isErrorCode, printable, problem, problemOf,
  type ErrorCode, type ErrorContext, type Problem,
} from './errors.ts';
export { EgressTold, misfitOf, readEntryBody, type EntryBody } from './entry-bodies.ts';
export { ALERTS, type AlertName } from './alerts.ts';
export { Alert, ENTRY_KINDS, EntryDraft, Receipt, type Entry, type EntryKind, type EvidenceLog, type Origin, type Sealed, type Secret } from './evidence.ts';
export { BODY_AND_SEALED_BYTES, sealable, SEALED_TEXT_BYTES } from './sealable.ts';
export { HostFacts, levelOf, type RuntimeFacts } from './host.ts';
export { isOver, nextState, SANDBOX_EVENTS, SANDBOX_STATES, SandboxState, TRANSITIONS, type SandboxEvent } from './life.ts';
export { isBelow, Level, LEVELS } from './level.ts';
export { GIB, KIB, LIMIT_NAMES, Limits, MIB, SomeLimits } from './limits.ts';
export {
  allowArgument, EGRESS_PROTOCOLS, EgressRule, NetworkPolicy, NetworkRequest, portOf, protocolOf, readsRequests, RESOLV_CONF, ruleName,
  type EgressAllowed, type EgressDecision, type EgressDenied, type EgressProtocol, type HttpRule, type McpRule,
} from './network.ts';
export { HostName } from './host-name.ts';
export { readResolver, type DnsServer, type SecureDnsServer } from './resolver.ts';
export { CertificateAuthority, certifies } from './certificate.ts';
export { CertificatePem } from './network.ts';
export { DENIALS_FILE, DENIALS_FOLDER } from './denials.ts';
export { MIRROR_BYTES, MIRROR_NAME, MIRROR_PATH } from './mirror.ts';
export { TRUST_BUNDLE, TRUST_CERTIFICATE, TRUST_ENV, TRUST_FOLDER } from './trust.ts';
export { AwsCredentials, awsKeyFor, type AwsScope } from './aws.ts';
export {
  AnyLease, envOf, FileLease, Lease, leaseEnv, LeaseId, LeaseTerms, rulesForSecret, SECRETS_FOLDER, SecretFileName, SecretName, SecretNames, SecretRule, secretEnvNames, termsOf,
  type FileRule, type InjectedRule, type KubernetesKey, type SecretInfo, type SecretPlace, type SecretSource, type VaultField,
} from './vault.ts';
export type { CountedRefusal, NetworkInfo, NetworkState, Refusal, SecretUse } from './network-state.ts';
export { EXIT, exitStatus, reasonFor, type Counts, type Ending, type OutputCount, type Usage } from './outcome.ts';
export { Policy, type SandboxRules } from './policy.ts';
export {
  readRecording, RECORD_HEAD_BYTES, RECORDING_DOMAIN, resizeBytes, sizeIn, writeRecordHead,
  type RecordedSegment, type RecordingHeader, type RecordingPiece, type RecordingRecord, type RecordKind,
} from './recording.ts';
export { RunRequest } from './request.ts';
export type { RunResult } from './result.ts';
export {
  IsolationSpec, NAMESPACES, SandboxId, Seccomp,
  type Mount, type Namespace, type Rlimit, type SeccompCondition, type SeccompRule, type SecretFileSpec,
} from './spec.ts';
export {
  CreateRequest, ExecId, ExecRequest, ImageRef, TerminalSize,
  type ExecEvent, type ExecInfo, type LiveUsage, type SandboxInfo,
} from './session.ts';
export { LayerId, LayerInfo, WorkspaceDiff, WorkspaceId, WorkspaceInfo, type WorkspaceChange } from './workspace.ts';
export { instanceId, statePaths, type StatePaths } from './state.ts';
