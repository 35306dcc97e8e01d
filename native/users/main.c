#include "users.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void write_file(const char *path, const char *text) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text)) fail(path);
  close(fd);
}

/* A hook that a runtime starts outside of the sandbox would bound the host's own root. */
static void must_be_inside(const char *outside) {
  struct stat status;
  if (stat("/proc/self/ns/user", &status) != 0) fail("user namespace");
  if (status.st_ino != number(outside, "inode")) return;
  errno = EINVAL;
  fail("user namespace");
}

/* caisson-users own HOST_UID UID GID PROGRAM ARG... | bound OUTSIDE NAME=VALUE... | join PID GROUP NAME=VALUE... */
int main(int argc, char **argv) {
  if (argc >= 6 && strcmp(argv[1], "own") == 0) own(argv + 2);
  if (argc >= 4 && strcmp(argv[1], "bound") == 0) {
    must_be_inside(argv[2]);
    bound(argv + 3);
    return 0;
  }
  if (argc >= 5 && strcmp(argv[1], "join") == 0) {
    enter_process(argv[2], argv[3]);
    bound(argv + 4);
    return 0;
  }
  errno = EINVAL;
  fail("arguments");
}
