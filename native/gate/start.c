#include "gate.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 4096
/* Descriptors are handed on from here, above those of whoever started this. */
#define FIRST_FD 20
/* Those of the process that reads what was refused, above all that it may have got. */
#define RELAY_LOG 100
#define RELAY_OUT 101

enum { TCP, DNS_UDP, DNS_TCP, HTTP_PROXY, SOCKS, SEEN, DESCRIPTORS };
static const char *const NAMES[DESCRIPTORS] = {"tcp", "dns-udp", "dns-tcp", "http-proxy", "socks", "seen"};

static void set(int fd, int level, int name, const char *step) {
  int on = 1;
  if (setsockopt(fd, level, name, &on, sizeof on) != 0) fail(step);
}

/* A listener in the namespace that is entered. Of a transparent one every connection says what address it was for. */
static int listener(int type, const char *host, uint16_t port, int transparent) {
  int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) fail("socket");
  set(fd, SOL_SOCKET, SO_REUSEADDR, "reuse");
  if (transparent) set(fd, SOL_IP, IP_TRANSPARENT, "transparent");
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
  inet_pton(AF_INET, host, &at.sin_addr);
  if (bind(fd, (struct sockaddr *)&at, sizeof at) != 0) fail("bind");
  if (type == SOCK_STREAM && listen(fd, BACKLOG) != 0) fail("listen");
  return fd;
}

static void drop_to(uid_t uid, gid_t gid) {
  if (setgroups(0, NULL) != 0 || setresgid(gid, gid, gid) != 0 || setresuid(uid, uid, uid) != 0) fail("identity");
}

static int moved(int fd, int to) {
  if (dup2(fd, to) != to) fail("descriptor");
  close(fd);
  return to;
}

/*
 * Opens the listeners of the gate in its namespace and becomes PROGRAM outside of it, which gives up its privilege before it
 * reads anything: no process that reads what a sandbox sends may touch the rules. The reader of refused packets has given it
 * up here. CAISSON_GATE_FDS says which descriptor is which.
 */
void start_gate(const char *netns, const char *inode, const char *uid, const char *gid, char **argv) {
  uid_t to_uid = (uid_t)number(uid, "uid");
  gid_t to_gid = (gid_t)number(gid, "gid");
  int outside = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  if (outside < 0) fail("outside");
  enter_namespace(open_namespace(netns, inode), netns);
  int fds[DESCRIPTORS] = {
      [TCP] = listener(SOCK_STREAM, "127.0.0.1", TCP_PORT, 1),          [DNS_UDP] = listener(SOCK_DGRAM, GATEWAY, DNS_PORT, 0),
      [DNS_TCP] = listener(SOCK_STREAM, GATEWAY, DNS_PORT, 0),          [HTTP_PROXY] = listener(SOCK_STREAM, GATEWAY, HTTP_PROXY_PORT, 0),
      [SOCKS] = listener(SOCK_STREAM, GATEWAY, SOCKS_PORT, 0),
  };
  int log = open_seen();
  enter_namespace(outside, "outside");
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) fail("pipe");
  pid_t parent = getpid();
  pid_t child = fork();
  if (child < 0) fail("fork");
  if (child == 0) {
    drop_to(to_uid, to_gid);
    prctl(PR_SET_PDEATHSIG, 9);
    if (getppid() != parent) _exit(0);
    /* Of all that the gate is given nothing is held here, the other end of the pipe neither: it ends with its reader. */
    moved(log, RELAY_LOG);
    moved(ends[1], RELAY_OUT);
    close_range(3, RELAY_LOG - 1, 0);
    close_range(RELAY_OUT + 1, ~0U, 0);
    relay_seen(RELAY_LOG, RELAY_OUT);
  }
  close(ends[1]);
  close(log);
  fds[SEEN] = ends[0];
  char text[256];
  int length = 0;
  for (int i = 0; i < DESCRIPTORS; i++) length += snprintf(text + length, sizeof text - (size_t)length, "%s%s=%d", i == 0 ? "" : ",", NAMES[i], moved(fds[i], FIRST_FD + i));
  setenv("CAISSON_GATE_FDS", text, 1);
  struct rlimit files = {.rlim_cur = 65536, .rlim_max = 65536};
  if (setrlimit(RLIMIT_NOFILE, &files) != 0) { /* where that is not permitted, what there is must do */
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  execv(argv[0], argv);
  fail(argv[0]);
}
