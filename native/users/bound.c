#include "users.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* What is read is what is in force; a bound that was not taken is none. */
static void must_be(const char *path, unsigned long value) {
  char text[32];
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
  if (length < 1) fail(path);
  close(fd);
  text[length - 1] = '\0'; /* the newline */
  if (number(text, path) == value) return;
  errno = ERANGE;
  fail(path);
}

/* The files show the namespace of whoever opens them, and take a value from who has CAP_SYS_RESOURCE in it. */
void bound(char **counts) {
  for (; *counts != NULL; counts++) {
    char path[128], text[32];
    size_t name = strcspn(*counts, "=");
    if (name == 0 || name > 64 || (*counts)[name] != '=' || strspn(*counts, "abcdefghijklmnopqrstuvwxyz_") != name) {
      errno = EINVAL;
      fail("count");
    }
    unsigned long value = number(*counts + name + 1, "count");
    snprintf(path, sizeof path, "/proc/sys/user/max_%.*s", (int)name, *counts);
    snprintf(text, sizeof text, "%lu", value);
    write_file(path, text);
    must_be(path, value);
  }
}

/* The kernel refuses to enter the namespace that this is in already. */
void enter_process(const char *pid, const char *group) {
  int process = open_process(pid, group);
  int fd = openat(process, "ns/user", O_RDONLY | O_CLOEXEC);
  if (fd < 0 || setns(fd, CLONE_NEWUSER) != 0) fail("user namespace");
  close(fd);
  close(process);
}
