#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct job jobs[JOBS_MAX];

/* The socket being read: a header, then as many payload bytes as it announces. */
static struct {
  size_t have;
  uint8_t bytes[FRAME_HEADER_BYTES + FRAME_PAYLOAD_MAX];
} input;

_Noreturn void die(int code) { _exit(code); }

/* Control is gone: what it had begun is undone. */
static _Noreturn void leave(void) {
  for (size_t i = 0; i < JOBS_MAX; i++)
    if (jobs[i].id != 0) job_end(&jobs[i]);
  die(0);
}

/* ---- replies ---- */

/* Blocks until control has read enough. Control reads eagerly and bounds by credit what is under way. */
void send_frame(uint8_t type, uint32_t id, const void *bytes, size_t length) {
  static uint8_t frame[FRAME_HEADER_BYTES + FRAME_PAYLOAD_MAX];
  if (length > FRAME_PAYLOAD_MAX) die(70);
  frame_put_header(frame, (struct frame_header){(uint32_t)length, type, id});
  if (length > 0) memcpy(frame + FRAME_HEADER_BYTES, bytes, length);
  const uint8_t *at = frame;
  for (size_t left = FRAME_HEADER_BYTES + length; left > 0;) {
    ssize_t n = write(SOCKET_FD, at, left);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) leave();
    at += n;
    left -= (size_t)n;
  }
}

static void send_problem(uint32_t id, int error, int what) {
  uint8_t payload[8];
  put32(payload, (uint32_t)error);
  put32(payload + 4, (uint32_t)what);
  send_frame(REP_FAILED, id, payload, sizeof payload);
}

void send_failed(uint32_t id, int error) { send_problem(id, error, 0); }

void send_failed_other(uint32_t id, int error) { send_problem(id, error, 1); }

void send_done(uint32_t id, const struct stat *info) {
  uint8_t record[RECORD_FIXED_BYTES];
  send_frame(REP_DONE, id, record, info == NULL ? 0 : put_record(record, info, "", ""));
}

/* ---- jobs ---- */

static struct job *find(uint32_t id) {
  for (size_t i = 0; i < JOBS_MAX; i++)
    if (jobs[i].id == id) return &jobs[i];
  return NULL;
}

struct job *job_start(uint32_t id, size_t state_bytes) {
  struct job *job = find(0);
  void *state = job == NULL ? NULL : calloc(1, state_bytes);
  if (state == NULL) {
    send_failed(id, job == NULL ? EBUSY : ENOMEM);
    return NULL;
  }
  *job = (struct job){.id = id, .credit = CREDIT_START, .need = 1, .wait_fd = -1, .state = state};
  return job;
}

void job_end(struct job *job) {
  if (job->close != NULL) job->close(job);
  free(job->state);
  *job = (struct job){0};
}

void job_fail(struct job *job, int error) {
  uint32_t id = job->id;
  job_end(job);
  send_failed(id, error);
}

void job_send(struct job *job, uint8_t type, const void *bytes, size_t length) {
  if (length > job->credit) die(70);
  job->credit -= length;
  send_frame(type, job->id, bytes, length);
}

static int can_step(const struct job *job) { return job->id != 0 && job->step != NULL && job->credit >= job->need; }

/* ---- requests ---- */

static void on_request(const struct request *r) {
  switch (r->type) {
    case REQ_STAT: return verb_stat(r);
    case REQ_LIST: return verb_list(r);
    case REQ_READ: return verb_read(r);
    case REQ_WRITE: return verb_write(r);
    case REQ_MKDIR: return verb_mkdir(r);
    case REQ_MOVE: return verb_move(r);
    case REQ_REMOVE: return verb_remove(r);
    case REQ_CHMOD: return verb_chmod(r);
    case REQ_SYMLINK: return verb_symlink(r);
    case REQ_LINK: return verb_link(r);
    case REQ_TRUNCATE: return verb_truncate(r);
    case REQ_WATCH: return verb_watch(r);
    case REQ_SEARCH: return verb_search(r);
  }
}

static void on_credit(struct job *job, uint64_t bytes) {
  /* More than was ever sent is a defect of the other end. */
  if (bytes > CREDIT_START - job->credit) die(71);
  job->credit += bytes;
}

/* What arrives for a job that has ended was under way when it did, and is passed over. */
static void on_part(struct frame_header h, const uint8_t *payload) {
  struct job *job = find(h.id);
  switch (h.type) {
    case REQ_DATA:
      if (job != NULL && job->data != NULL) job->data(job, payload, h.length);
      return;
    case REQ_COMMIT:
      if (h.length != 0 && h.length != VERSION_BYTES) die(71);
      if (job != NULL && job->commit != NULL) job->commit(job, h.length == 0 ? NULL : payload);
      return;
    case REQ_CREDIT:
      if (h.length != 4) die(71);
      if (job != NULL) on_credit(job, get32(payload));
      return;
    case REQ_CANCEL:
      if (h.length != 0) die(71);
      if (job != NULL) job_fail(job, ECANCELED);
      return;
    default: die(71);
  }
}

static void on_frame(struct frame_header h, const uint8_t *payload) {
  if (h.type > REQ_SEARCH) return on_part(h, payload);
  struct request r;
  if (frame_parse_request(h.type, payload, h.length, &r) != 0 || find(h.id) != NULL) die(71);
  r.id = h.id;
  on_request(&r);
}

static void read_socket(void) {
  ssize_t n = read(SOCKET_FD, input.bytes + input.have, sizeof input.bytes - input.have);
  if (n < 0 && errno == EINTR) return;
  if (n <= 0) leave();
  input.have += (size_t)n;
  size_t used = 0;
  while (input.have - used >= FRAME_HEADER_BYTES) {
    struct frame_header h;
    if (frame_parse_header(input.bytes + used, &h) != 0) die(71);
    size_t whole = FRAME_HEADER_BYTES + h.length;
    if (input.have - used < whole) break;
    on_frame(h, input.bytes + used + FRAME_HEADER_BYTES);
    used += whole;
  }
  memmove(input.bytes, input.bytes + used, input.have - used);
  input.have -= used;
}

/* One step of every job that can make one, then whatever has been asked meanwhile. */
static void serve(void) {
  struct pollfd waits[1 + JOBS_MAX];
  waits[0] = (struct pollfd){.fd = SOCKET_FD, .events = POLLIN};
  int timeout = -1;
  for (size_t i = 0; i < JOBS_MAX; i++) {
    int able = can_step(&jobs[i]);
    waits[1 + i] = (struct pollfd){.fd = able ? jobs[i].wait_fd : -1, .events = POLLIN};
    if (able && jobs[i].wait_fd < 0) timeout = 0;
  }
  if (poll(waits, 1 + JOBS_MAX, timeout) < 0 && errno != EINTR) die(70);
  for (size_t i = 0; i < JOBS_MAX; i++)
    if (can_step(&jobs[i]) && (jobs[i].wait_fd < 0 || (waits[1 + i].fd == jobs[i].wait_fd && waits[1 + i].revents != 0))) jobs[i].step(&jobs[i]);
  if (waits[0].revents != 0) read_socket();
}

/* ---- start ---- */

static int parse_id(const char *text, uint32_t *out) {
  char *end;
  errno = 0;
  unsigned long value = strtoul(text, &end, 10);
  if (errno != 0 || *text < '0' || *text > '9' || *end != 0 || value == 0 || value > 0xfffffffeUL) return -1;
  *out = (uint32_t)value;
  return 0;
}

int main(int argc, char **argv) {
  uint32_t uid, gid;
  if (argc != 7 || strcmp(argv[1], "--root") != 0 || strcmp(argv[3], "--uid") != 0 || strcmp(argv[5], "--gid") != 0) return 2;
  if (argv[2][0] != '/' || parse_id(argv[4], &uid) != 0 || parse_id(argv[6], &gid) != 0) return 2;
  signal(SIGPIPE, SIG_IGN);
  if (close_range(SOCKET_FD + 1, ~0U, 0) != 0) return 70;
  /* The launcher may hand over a non-blocking socket; send_frame relies on a blocking one. */
  if (fcntl(SOCKET_FD, F_SETFL, O_RDWR) != 0) return 70;
  umask(022);
  int step = confine(argv[2], uid, gid);
  if (step != 0) {
    send_problem(0, errno, step);
    return 72;
  }
  uint8_t hello[12];
  put32(hello, PROTOCOL);
  put32(hello + 4, uid);
  put32(hello + 8, gid);
  send_frame(REP_HELLO, 0, hello, sizeof hello);
  for (;;) serve();
}
