import { resolve } from 'node:path';
import { statePaths } from '@caisson/contract/light';
import { checkOwnFolders, startConnecting, type Connecting } from '@caisson/wire';

/** What every command is given. */
export interface Surroundings {
  /** The checkout. */
  readonly home: string;
  /** A connection of `run` to control that is already under way. */
  readonly early: Connecting | undefined;
}

/**
 * Connects `run` to control while the rest of the program is still loading: by the time the request is ready, the
 * launcher has had its milliseconds to get ready for it. Whatever is wrong is said when the connection is used.
 */
export function connectEarly(argv: readonly string[]): Connecting | undefined {
  if (argv[0] !== 'run') return undefined;
  const paths = statePaths({ env: process.env, uid: process.getuid?.() ?? 0, resolve });
  try {
    checkOwnFolders(paths.ownFolders, { make: false });
  } catch {
    return undefined;
  }
  return startConnecting(paths.controlSocket);
}
