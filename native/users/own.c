#include "users.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/securebits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * The owner of a user namespace is the effective uid of who makes it. Capabilities stay, because some hosts let nobody else make
 * one. Nothing runs as the owner afterwards: a process of that uid outside would have every capability inside.
 */
static void make_and_wait(uid_t owner, int told) {
  if (prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP) != 0 || setresuid((uid_t)-1, owner, (uid_t)-1) != 0) fail("owner of the user namespace");
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (unshare(CLONE_NEWUSER) != 0) fail("user namespace");
  if (write(told, "", 1) != 1) fail("user namespace");
  for (;;) pause();
}

/* Root inside and the user inside are two consecutive ids outside, as the config of the runtime has them. */
static void map(pid_t child, const char *file, unsigned long host, unsigned long inside) {
  char path[64], text[128];
  snprintf(path, sizeof path, "/proc/%d/%s", child, file);
  snprintf(text, sizeof text, "0 %lu 1\n%lu %lu 1\n", host, inside, host + 1);
  write_file(path, text);
}

static int namespace_of_child(pid_t child) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/ns/user", child);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail("user namespace");
  return fd;
}

/* argv: HOST_UID UID GID PROGRAM ARG... */
void own(char **argv) {
  unsigned long host = number(argv[0], "uid"), uid = number(argv[1], "uid"), gid = number(argv[2], "gid");
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) fail("pipe");
  pid_t child = fork();
  if (child < 0) fail("fork");
  if (child == 0) {
    close(ends[0]);
    make_and_wait((uid_t)host, ends[1]);
  }
  close(ends[1]);
  char byte;
  if (read(ends[0], &byte, 1) != 1) _exit(1); /* the child has said why */
  close(ends[0]);
  map(child, "uid_map", host, uid);
  map(child, "gid_map", host, gid);
  int fd = namespace_of_child(child);
  if (dup2(fd, USER_NAMESPACE_FD) < 0) fail("user namespace");
  close(fd);
  kill(child, SIGKILL);
  while (waitpid(child, NULL, 0) < 0 && errno == EINTR) {
  }
  execv(argv[3], argv + 3);
  fail(argv[3]);
}
