#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

struct reading {
  int fd;
  uint64_t at, left;
};

static void read_close(struct job *job) { close(((struct reading *)job->state)->fd); }

static void read_step(struct job *job) {
  static uint8_t chunk[FRAME_PAYLOAD_MAX];
  struct reading *reading = job->state;
  uint64_t most = reading->left < sizeof chunk ? reading->left : sizeof chunk;
  if (most > job->credit) most = job->credit;
  ssize_t n = most == 0 ? 0 : pread(reading->fd, chunk, most, (off_t)reading->at);
  if (n < 0) return errno == EINTR ? (void)0 : job_fail(job, errno);
  if (n > 0) job_send(job, REP_DATA, chunk, (size_t)n);
  reading->at += (uint64_t)n;
  reading->left -= (uint64_t)n;
  if (n > 0 && reading->left > 0) return;
  /* Fewer bytes than the size that was told: the file has become shorter meanwhile, and control sees that. */
  uint32_t id = job->id;
  job_end(job);
  send_done(id, NULL);
}

/* `first` is the offset, `second` the most bytes. */
void verb_read(const struct request *r) {
  struct stat info;
  const char *name;
  int fd = -1;
  if ((r->flags & FLAG_FOLLOW) != 0) {
    /* Looked at through O_PATH first: what is no regular file is not even opened. */
    int seen = resolve(r->path, r->flags, O_PATH);
    if (seen < 0) return send_failed(r->id, errno);
    int failed = fstat(seen, &info) != 0;
    close(seen);
    if (failed || !S_ISREG(info.st_mode)) return send_failed(r->id, S_ISDIR(info.st_mode) ? EISDIR : ENXIO);
    fd = resolve(r->path, r->flags, O_RDONLY | O_NONBLOCK);
    if (fd >= 0 && (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode))) {
      close(fd);
      return send_failed(r->id, ENXIO);
    }
  } else {
    int folder = resolve_parent(r->path, r->flags, &name);
    if (folder < 0) return send_failed(r->id, errno == EBUSY ? EISDIR : errno);
    fd = open_regular(folder, name, O_RDONLY, &info);
    int error = errno;
    close(folder);
    errno = error;
  }
  if (fd < 0) return send_failed(r->id, errno);
  struct job *job = job_start(r->id, sizeof(struct reading));
  if (job == NULL) {
    close(fd);
    return;
  }
  uint64_t size = (uint64_t)info.st_size, at = r->first < size ? r->first : size;
  uint64_t left = size - at;
  *(struct reading *)job->state = (struct reading){.fd = fd, .at = at, .left = left < r->second ? left : r->second};
  job->close = read_close;
  job->step = read_step;
  uint8_t record[RECORD_FIXED_BYTES];
  send_frame(REP_INFO, r->id, record, put_record(record, &info, "", ""));
}
