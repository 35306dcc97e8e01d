/** What crosses the HTTP API, besides the requests of `session.ts`: the schemas that its document is made from. */
export {
  Allowed, Denied, Ending, ExecInfo, LiveUsage, NetworkInfo, OutputCount, OutputEvent, Problem, SandboxInfo, SecretInfo, type OutputEventData, type ProblemBody,
} from './api-nouns.ts';
export {
  Append, Archive, Chmod, FileInfo, type FileInfoBody, ListFiles, Mkdir, Move, Patch, PutFile, ReadFile, Remove, Search, Stat, Watch,
} from './api-files.ts';
export {
  Changes, ExecRequest, FollowQuery, ForkRequest, ImageImport, ListQuery, NewSnapshot, Nothing, Renewal, Restore, Resize,
  Signal, StdinQuery, WaitQuery, WorkspaceImport, signalNumber,
} from './api-requests.ts';
export { ApprovalAnswer, Decided, HeldAttempt } from './approval.ts';
export { NewToken, Scope, SCOPES, StoredToken, TokenFile, TokenInfo, type TokenMade } from './token.ts';
