#include "gate.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int open_namespace(const char *path, const char *inode) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  struct stat status;
  if (fd < 0 || fstat(fd, &status) != 0) fail(path);
  if (status.st_ino == number(inode, "inode")) return fd;
  errno = ESTALE;
  fail(path);
}

void enter_namespace(int fd, const char *what) {
  if (setns(fd, CLONE_NEWNET) != 0) fail(what);
}

/* caisson-gate hold RULES | start NETNS INODE UID GID PROGRAM ARG... | link NETNS INODE NAME ADDRESS FILE
 * | join NETNS INODE NAME ADDRESS PID GROUP | unlink NETNS INODE [NAME] */
int main(int argc, char **argv) {
  if (argc == 3 && strcmp(argv[1], "hold") == 0) hold(argv[2]);
  if (argc >= 7 && strcmp(argv[1], "start") == 0) start_gate(argv[2], argv[3], argv[4], argv[5], argv + 6);
  if (argc == 7 && strcmp(argv[1], "link") == 0) {
    link_sandbox(argv[2], argv[3], argv[4], argv[5], argv[6]);
    return 0;
  }
  if (argc == 8 && strcmp(argv[1], "join") == 0) {
    link_process(argv[2], argv[3], argv[4], argv[5], argv[6], argv[7]);
    return 0;
  }
  if ((argc == 4 || argc == 5) && strcmp(argv[1], "unlink") == 0) {
    unlink_sandboxes(argv[2], argv[3], argc == 5 ? argv[4] : NULL);
    return 0;
  }
  errno = EINVAL;
  fail("arguments");
}
