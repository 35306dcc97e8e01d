/* What the programs that the launcher starts share: how they fail, and how they find a process by its number. */
#ifndef CAISSON_PROCESS_H
#define CAISSON_PROCESS_H

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Says the step and the name of errno on stderr, which the launcher reads, and ends. */
static inline _Noreturn void fail(const char *step) {
  const char *name = strerrorname_np(errno);
  dprintf(STDERR_FILENO, "%s: %s\n", step, name == NULL ? "EUNKNOWN" : name);
  _exit(1);
}

/* A decimal number above 0, below that which is no id. */
static inline unsigned long number(const char *text, const char *what) {
  char *end;
  errno = 0;
  unsigned long value = strtoul(text, &end, 10);
  if (errno == 0 && *end == '\0' && *text >= '0' && *text <= '9' && value > 0 && value < UINT32_MAX) return value;
  errno = EINVAL;
  fail(what);
}

/* Whether a line of the process's /proc/PID/cgroup ends in a group of this name. */
static inline int is_in_group(int process, const char *group) {
  char text[8192], *line, *rest = text;
  int fd = openat(process, "cgroup", O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail("process");
  size_t have = 0;
  for (ssize_t got; have < sizeof text - 1 && (got = read(fd, text + have, sizeof text - 1 - have)) != 0; have += (size_t)got) {
    if (got < 0) fail("process");
  }
  close(fd);
  text[have] = '\0';
  while ((line = strsep(&rest, "\n")) != NULL) {
    const char *last = strrchr(line, '/');
    if (last != NULL && strcmp(last + 1, group) == 0) return 1;
  }
  return 0;
}

/*
 * The folder of /proc of a process that is in a control group of this name. A number comes again when its process has gone:
 * everything is asked of this one folder, which stays that of the process it was opened for.
 */
static inline int open_process(const char *pid, const char *group) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%lu", number(pid, "process"));
  int process = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (process < 0) fail("process");
  if (is_in_group(process, group)) return process;
  errno = ESRCH;
  fail("process");
}

#endif
