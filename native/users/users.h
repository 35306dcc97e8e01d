/*
 * What the kernel counts by user (inotify, queued signals, timers) it counts for the user of a sandbox, and again for the owner of the
 * sandbox's user namespace (user_namespaces(7), namespaces(7) "/proc/sys/user"). Where that owner is root, all sandboxes
 * and the host's own root draw on one account.
 */
#ifndef CAISSON_USERS_H
#define CAISSON_USERS_H

#include <sys/types.h>

#include "../process.h"

void write_file(const char *path, const char *text);

/* Becomes a program that holds, as descriptor USER_NAMESPACE_FD, a new user namespace whose owner is its own root. */
void own(char **argv) __attribute__((noreturn));
/* Bounds the counts of the user namespace that this runs in, each as `name=value`. */
void bound(char **counts);
/* Enters the user namespace of a process by its number, if the process is in a control group of this name. */
void enter_process(const char *pid, const char *group);

/* The same as in core/runtime/src/user-counts.ts. */
#define USER_NAMESPACE_FD 9

#endif
