/**
 * Bounds of a sandbox on what the kernel counts by user, where its user namespace has an owner who is not its own
 * (namespaces(7), "/proc/sys/user"): the kernel charges that owner too, and root has 128 inotify instances where nobody
 * has raised it. Instances are enough for a few watching programs, watches for the folders of a large project.
 */
export const USER_COUNTS = { inotify_instances: 16, inotify_watches: 8192 } as const;

/** A program that bounds the counts of the user namespace that a runtime makes, and the inode of the one that this is in. */
export interface CountsHook {
  readonly program: string;
  readonly outside: number;
}

/** The bounds as the program takes them. */
export function boundArgs(): readonly string[] {
  return Object.entries(USER_COUNTS).map(([name, value]) => `${name}=${value}`);
}
