import { CaissonError } from '@caisson/contract';
import { ToolError } from './tool.ts';

/** What a step that failed means to who asked for it. */
export function failure(error: unknown, subject: string): CaissonError {
  if (error instanceof CaissonError) return error;
  const errno = error instanceof ToolError ? error.errno : (error as NodeJS.ErrnoException).code;
  if (errno === 'ENOSPC') return new CaissonError('WORKSPACE_POOL_FULL', { freeMiB: 0, reserveMiB: 0 }, { cause: error });
  if (error instanceof ToolError && error.step === 'image in use') {
    return new CaissonError('WORKSPACE_ATTACHED', { workspace: subject, sandbox: 'something that has not let go of it' }, { cause: error });
  }
  if (error instanceof ToolError && error.step === 'mirror') {
    return new CaissonError('AUDIT_MIRROR_TAKEN', { place: subject, detail: 'a workspace keeps what is in it' }, { cause: error });
  }
  return new CaissonError('WORKSPACE_FAILED', { workspace: subject, detail: error instanceof Error ? error.message : String(error) }, { cause: error });
}
