#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CONNECT_MS = 5000 };

static int64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void fail(struct exec *e, int error) {
  uint32_t id = e->id;
  exec_release(e);
  exec_send_failed(id, STAGE_CONNECT, (uint32_t)error);
}

/* Returns 0 when the connection is made or being made. */
static int begin(struct exec *e, int family) {
  struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(e->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(e->port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
  const struct sockaddr *to = family == AF_INET ? (const struct sockaddr *)&v4 : (const struct sockaddr *)&v6;
  socklen_t length = family == AF_INET ? sizeof v4 : sizeof v6;
  let_go(&e->out[0], &e->out_polled[0]);
  int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -1;
  if (connect(fd, to, length) != 0 && errno != EINPROGRESS) {
    int error = errno;
    close(fd);
    errno = error;
    return -1;
  }
  e->out[0] = fd;
  e->family = family;
  e->out_polled[0] = 1;
  watch(fd, WATCH_CONNECT, exec_slot(e), 1);
  return 0;
}

/* IPv4 was refused: IPv6 is tried, and when that cannot be either, the first reason is the one that counts. */
static void begin_again(struct exec *e, int error) {
  if (e->family == AF_INET6 || begin(e, AF_INET6) != 0) fail(e, error);
}

void dial_port(uint32_t id, const uint8_t *payload, size_t length) {
  struct lane_dial dial;
  if (id == 0 || exec_find(id) != NULL || lane_parse_dial(payload, length, &dial) != 0) die(71);
  struct exec *e = exec_new(id, STAGE_CONNECT);
  if (e == NULL) return;
  e->kind = KIND_DIAL;
  e->port = dial.port;
  e->window = dial.window;
  e->cap[0] = UINT64_MAX;
  e->deadline_ms = now_ms() + CONNECT_MS;
  if ((e->in_buffer = malloc(LANE_STDIN_WINDOW)) == NULL) return fail(e, ENOMEM);
  if (begin(e, AF_INET) != 0) begin_again(e, errno);
}

void dial_ready(size_t slot) {
  struct exec *e = exec_at(slot);
  int error = 0;
  socklen_t length = sizeof error;
  struct sockaddr_storage peer;
  socklen_t peer_length = sizeof peer;
  if (e->id == 0 || e->kind != KIND_DIAL || e->deadline_ms == 0 || e->out[0] < 0) return;
  if (getsockopt(e->out[0], SOL_SOCKET, SO_ERROR, &error, &length) != 0) error = errno;
  if (error != 0) return begin_again(e, error);
  if (getpeername(e->out[0], (struct sockaddr *)&peer, &peer_length) != 0) return; /* of an event for an earlier exec */
  unwatch(e->out[0]);
  e->out_polled[0] = 0;
  if ((e->in = fcntl(e->out[0], F_DUPFD_CLOEXEC, 0)) < 0) return fail(e, errno);
  e->deadline_ms = 0;
  exec_send_started(e);
  exec_update(e);
}

int dial_wait_ms(void) {
  int64_t first = 0;
  for (size_t slot = 0; slot < LANE_EXECS_MAX; slot++) {
    const struct exec *e = exec_at(slot);
    if (e->id != 0 && e->deadline_ms != 0 && (first == 0 || e->deadline_ms < first)) first = e->deadline_ms;
  }
  if (first == 0) return -1;
  int64_t left = first - now_ms();
  return left > 0 ? (int)left : 0;
}

void dial_expire(void) {
  int64_t now = 0;
  for (size_t slot = 0; slot < LANE_EXECS_MAX; slot++) {
    struct exec *e = exec_at(slot);
    if (e->id == 0 || e->deadline_ms == 0) continue;
    if (now == 0) now = now_ms();
    if (e->deadline_ms <= now) fail(e, ETIMEDOUT);
  }
}
