#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int poller = -1;
static int landlock_abi;

/* A lane being read: a header, then as many payload bytes as it announces. */
struct reader {
  int fd;
  size_t have;
  uint8_t bytes[LANE_HEADER_BYTES + LANE_PAYLOAD_MAX];
};

_Noreturn void die(int code) { _exit(code); }

void watch(int fd, int kind, size_t slot, int writable) {
  struct epoll_event event = {.events = writable ? EPOLLOUT : EPOLLIN};
  event.data.u64 = (uint64_t)kind << 32 | slot;
  if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) != 0) die(70);
}

void unwatch(int fd) { epoll_ctl(poller, EPOLL_CTL_DEL, fd, NULL); }

void let_go(int *fd, int *polled) {
  if (*fd < 0) return;
  if (polled != NULL && *polled) unwatch(*fd);
  if (polled != NULL) *polled = 0;
  close(*fd);
  *fd = -1;
}

/* Blocks until the launcher has read enough. The launcher reads eagerly and bounds what is in
 * flight by credit; if it never reads again, it is gone or about to kill this sandbox. */
static void write_all(int fd, const uint8_t *bytes, size_t length) {
  while (length > 0) {
    ssize_t n = send(fd, bytes, length, MSG_NOSIGNAL);
    if (n < 0 && errno == ENOTSOCK) n = write(fd, bytes, length);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) die(0);
    bytes += n;
    length -= (size_t)n;
  }
}

void send_frame(int fd, uint8_t type, uint8_t stream, uint32_t exec, const void *bytes, size_t length) {
  static uint8_t frame[LANE_HEADER_BYTES + LANE_PAYLOAD_MAX];
  if (length > LANE_PAYLOAD_MAX) length = LANE_PAYLOAD_MAX;
  lane_put_header(frame, (struct lane_header){(uint32_t)length, type, stream, exec});
  if (length > 0) memcpy(frame + LANE_HEADER_BYTES, bytes, length);
  write_all(fd, frame, LANE_HEADER_BYTES + length);
}

static void on_quiesce(int fd, struct lane_header h) {
  if (h.length != 0) die(71);
  if (!quiesce_heard(fd)) return;
  exec_forget_programs();
  send_hello(landlock_abi);
}

static void on_control(struct lane_header h, uint8_t *payload) {
  switch (h.type) {
    case LANE_SPAWN:
      spawn_program(h.exec, payload, h.length);
      return;
    case LANE_DIAL:
      dial_port(h.exec, payload, h.length);
      return;
    case LANE_RESIZE:
      tty_resize(h.exec, payload, h.length);
      return;
    case LANE_KILL:
      if (h.length != 0) die(71);
      exec_kill(h.exec);
      return;
    case LANE_SIGNAL:
      if (h.length != 4) die(71);
      exec_signal(h.exec, (int)lane_get32(payload));
      return;
    case LANE_CREDIT:
      if (h.length != 4) die(71);
      exec_credit(h.exec, lane_get32(payload));
      return;
    case LANE_QUIESCE:
      on_quiesce(CONTROL_FD, h);
      return;
    default:
      die(71);
  }
}

static void on_data(struct lane_header h, uint8_t *payload) {
  if (h.type == LANE_QUIESCE) return on_quiesce(DATA_FD, h);
  if (h.type != LANE_STDIN) die(71);
  exec_stdin(h.exec, payload, h.length);
}

/* No runtime that gives pid 1 a stream saves memory. */
static void on_stream(struct lane_header h, uint8_t *payload) {
  if (h.type == LANE_QUIESCE) die(71);
  if (h.type == LANE_STDIN) return on_data(h, payload);
  on_control(h, payload);
}

/* Takes what is there; returns whether that was anything. The end of a lane is the end of the
 * sandbox: when pid 1 exits the kernel kills every process of the pid namespace. */
static int take(struct reader *r) {
  ssize_t n = recv(r->fd, r->bytes + r->have, sizeof r->bytes - r->have, MSG_DONTWAIT);
  /* Nobody else reads the pipe, so one that was said to be readable does not block. */
  if (n < 0 && errno == ENOTSOCK) n = read(r->fd, r->bytes + r->have, sizeof r->bytes - r->have);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
  if (n <= 0) die(0);
  r->have += (size_t)n;
  return 1;
}

/* Hands over every complete frame. */
static void hand_over(struct reader *r, void (*on_frame)(struct lane_header, uint8_t *)) {
  size_t used = 0;
  while (r->have - used >= LANE_HEADER_BYTES) {
    struct lane_header h;
    if (lane_parse_header(r->bytes + used, &h) != 0) die(71);
    size_t whole = LANE_HEADER_BYTES + h.length;
    if (r->have - used < whole) break;
    on_frame(h, r->bytes + used + LANE_HEADER_BYTES);
    used += whole;
  }
  memmove(r->bytes, r->bytes + used, r->have - used);
  r->have -= used;
}

static void read_lane(struct reader *r, void (*on_frame)(struct lane_header, uint8_t *)) {
  if (take(r)) hand_over(r, on_frame);
}

/* Who writes to a command has started it before, on the control lane. Of two lanes that are both readable epoll names
 * either first: so what is in hand of the data lane waits until all is read that was on the control lane by then. */
static void read_data(struct reader *data, struct reader *control) {
  if (!take(data)) return;
  while (take(control)) hand_over(control, on_control);
  hand_over(data, on_data);
}

static void reap(int signal_fd) {
  struct signalfd_siginfo drained[8];
  if (read(signal_fd, drained, sizeof drained) < 0 && errno != EAGAIN) die(70);
  for (;;) {
    int status;
    struct rusage usage;
    pid_t pid = wait4(-1, &status, WNOHANG, &usage);
    if (pid <= 0) return;
    exec_reaped(pid, status, &usage);
  }
}

/* What the runtime ignored would be ignored by every program too. Pid 1 itself needs no handler: of its own namespace
 * no signal without one reaches it (pid_namespaces(7)). */
static void reset_signals(void) {
  for (int signo = 1; signo < NSIG; signo++) signal(signo, SIG_DFL); /* fails for those that cannot be changed */
}

static int open_signals(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGCHLD);
  sigprocmask(SIG_SETMASK, &set, NULL);
  reset_signals();
  signal(SIGPIPE, SIG_IGN);
  return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void detach_stdio(void) {
  int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null < 0) die(70);
  for (int fd = 0; fd <= 2; fd++)
    if (dup2(null, fd) < 0) die(70);
  if (null > 2) close(null);
}

int main(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], "--host-facts") == 0) return print_host_facts();
  static struct reader control = {.fd = CONTROL_FD}, data = {.fd = DATA_FD}, stream = {.fd = STREAM_FD};
  if (prctl(PR_SET_DUMPABLE, 0) != 0) die(70);
  int last = lanes_take();
  /* Whatever else a runtime has left open would pass to the agent's programs. */
  if (close_range((unsigned)last + 1, ~0U, 0) != 0) die(70);
  /* The launcher may hand over non-blocking sockets; write_all relies on blocking ones. */
  for (int fd = CONTROL_FD; fd <= last; fd++)
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0 || fcntl(fd, F_SETFL, O_RDWR) != 0) die(70);
  detach_stdio();
  umask(022);
  landlock_abi = landlock_confine();
  if (landlock_abi < 0) die(72);
  int signals = open_signals();
  poller = epoll_create1(EPOLL_CLOEXEC);
  if (signals < 0 || poller < 0) die(70);
  if (last == STREAM_FD) {
    watch(STREAM_FD, WATCH_STREAM, 0, 0);
  } else {
    watch(CONTROL_FD, WATCH_CONTROL, 0, 0);
    watch(DATA_FD, WATCH_DATA, 0, 0);
  }
  watch(signals, WATCH_SIGNAL, 0, 0);
  /* What the launcher still makes of the sandbox is there before pid 1 says what it sees. */
  if (argc == 2 && strcmp(argv[1], "--wait") == 0) wait_for_resume(last == STREAM_FD ? STREAM_FD : CONTROL_FD);
  send_hello(landlock_abi);

  for (;;) {
    struct epoll_event ready[32];
    int count = epoll_wait(poller, ready, 32, dial_wait_ms());
    if (count < 0 && errno != EINTR) die(70);
    for (int i = 0; i < count; i++) {
      size_t slot = (uint32_t)ready[i].data.u64;
      switch (ready[i].data.u64 >> 32) {
        case WATCH_CONTROL: read_lane(&control, on_control); break;
        case WATCH_DATA: read_data(&data, &control); break;
        case WATCH_STREAM: read_lane(&stream, on_stream); break;
        case WATCH_SIGNAL: reap(signals); break;
        case WATCH_STDOUT: exec_output_ready(slot, 0); break;
        case WATCH_STDERR: exec_output_ready(slot, 1); break;
        case WATCH_STDIN: exec_input_ready(slot); break;
        case WATCH_REPORT: spawn_report_ready(slot); break;
        case WATCH_CONNECT: dial_ready(slot); break;
      }
    }
    dial_expire();
  }
}
