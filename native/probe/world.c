#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <time.h>
#include <unistd.h>

static int count;
static char **arguments;

void take_parameters(int argc, char **argv) {
  count = argc;
  arguments = argv;
}

const char *parameter(const char *name, const char *otherwise) {
  size_t length = strlen(name);
  for (int i = 0; i < count; i++)
    if (strncmp(arguments[i], name, length) == 0 && arguments[i][length] == '=') return arguments[i] + length + 1;
  return otherwise;
}

long parameter_number(const char *name, long otherwise) {
  const char *value = parameter(name, NULL);
  return value == NULL ? otherwise : strtol(value, NULL, 10);
}

pid_t target(void) { return (pid_t)parameter_number("target", 1); }

void own_mounts(void) {
  if (unshare(CLONE_NEWNS) == 0) mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
}

char *own_directory(void) {
  static char path[PATH_MAX];
  snprintf(path, sizeof path, "%s/caisson-probe-XXXXXX", parameter("dir", "."));
  return mkdtemp(path);
}

long long now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

ssize_t read_start(const char *path, char *into, size_t size) {
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd < 0) return -1;
  ssize_t n = read(fd, into, size - 1);
  int error = errno;
  close(fd);
  errno = error;
  if (n >= 0) into[n] = 0;
  return n;
}

const char *status_field(const char *pid, const char *field) {
  static char text[8192];
  char path[64];
  snprintf(path, sizeof path, "/proc/%s/status", pid);
  if (read_start(path, text, sizeof text) <= 0) return NULL;
  size_t length = strlen(field);
  for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n"))
    if (strncmp(line, field, length) == 0 && line[length] == ':') return line + length + 1 + strspn(line + length + 1, " \t");
  return NULL;
}
