/* Writing a file: the bytes go to a file without a name, which takes the target's place in one step once all are there
 * and on disk. Whatever fails before leaves the target as it was and nothing else behind. */
#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { MODE_MASK = 01777, START_DISK_EVERY = 8 << 20 };

struct writing {
  int folder, fd;
  uint32_t flags;
  int64_t mtime_ns;
  uint64_t at, started;
  char name[NAME_BYTES_MAX + 1];
  char temporary[32]; /* empty while the file has no name */
};

static void write_close(struct job *job) {
  struct writing *w = job->state;
  if (w->temporary[0] != 0) unlinkat(w->folder, w->temporary, 0);
  if (w->fd >= 0) close(w->fd);
  if (w->folder >= 0) close(w->folder);
}

/* Starts the disk early on long files, so that the wait at the end is short. */
static void start_disk(struct writing *w) {
  if ((w->flags & FLAG_NO_SYNC) != 0 || w->at - w->started < START_DISK_EVERY) return;
  sync_file_range(w->fd, (off_t)w->started, (off_t)(w->at - w->started), SYNC_FILE_RANGE_WRITE);
  w->started = w->at;
}

static void write_data(struct job *job, const uint8_t *bytes, size_t length) {
  struct writing *w = job->state;
  for (size_t done = 0; done < length;) {
    ssize_t n = write(w->fd, bytes + done, length - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return job_fail(job, n < 0 ? errno : ENOSPC);
    done += (size_t)n;
    w->at += (size_t)n;
  }
  start_disk(w);
  uint8_t ack[4];
  put32(ack, (uint32_t)length);
  send_frame(REP_ACK, job->id, ack, sizeof ack);
}

/* What is under the name now, if it may be replaced: a regular file, of the version that was asked for. */
static int may_replace(const struct writing *w, const uint8_t *version) {
  struct stat info;
  if (fstatat(w->folder, w->name, &info, AT_SYMLINK_NOFOLLOW) != 0) return errno == ENOENT && version != NULL ? (errno = ESTALE, -1) : errno == ENOENT ? 0 : -1;
  if (!S_ISREG(info.st_mode)) errno = S_ISDIR(info.st_mode) ? EISDIR : S_ISLNK(info.st_mode) ? ELOOP : ENXIO;
  else if ((w->flags & FLAG_EXCLUSIVE) != 0) errno = EEXIST;
  else {
    uint8_t found[VERSION_BYTES];
    put_version(found, &info);
    if (version == NULL || memcmp(found, version, VERSION_BYTES) == 0) return 0;
    errno = ESTALE;
  }
  return -1;
}

static int name_file(struct writing *w) {
  if (w->temporary[0] != 0) return 0;
  char name[32];
  temporary_name(name);
  if (linkat(w->fd, "", w->folder, name, AT_EMPTY_PATH) != 0) return -1;
  memcpy(w->temporary, name, sizeof name);
  return 0;
}

static int commit(struct writing *w, const uint8_t *version) {
  if (w->mtime_ns >= 0) {
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = w->mtime_ns / 1000000000, .tv_nsec = w->mtime_ns % 1000000000}};
    if (futimens(w->fd, times) != 0) return -1;
  }
  if ((w->flags & FLAG_NO_SYNC) == 0 && fsync(w->fd) != 0) return -1;
  if ((w->flags & FLAG_APPEND) != 0) return 0;
  if (may_replace(w, version) != 0 || name_file(w) != 0) return -1;
  if (renameat2(w->folder, w->temporary, w->folder, w->name, (w->flags & FLAG_EXCLUSIVE) != 0 ? RENAME_NOREPLACE : 0) != 0) return -1;
  w->temporary[0] = 0;
  return 0;
}

static void write_commit(struct job *job, const uint8_t *version) {
  struct writing *w = job->state;
  struct stat info;
  if (commit(w, version) != 0 || fstat(w->fd, &info) != 0) return job_fail(job, errno);
  uint32_t id = job->id;
  job_end(job);
  send_done(id, &info);
}

/* Whether a file without a name can be had here and named later: by the file system, and by the kernel, which lets the
 * opener do so since Linux 6.10. Tried once, because all files of a helper are on one file system. */
static int can_be_nameless(int folder) {
  static int known = -1;
  if (known >= 0) return known;
  char name[32];
  int fd = open_in(folder, ".", O_TMPFILE | O_WRONLY, 0600);
  if (fd < 0) return errno == ENOSPC || errno == EDQUOT || errno == EACCES ? 0 : (known = 0);
  temporary_name(name);
  known = linkat(fd, "", folder, name, AT_EMPTY_PATH) == 0;
  if (known) unlinkat(folder, name, 0);
  close(fd);
  return known;
}

/* A file without a name, or else one with a name that says whose it is. */
static int open_new(struct writing *w, mode_t mode) {
  if (can_be_nameless(w->folder)) return (w->fd = open_in(w->folder, ".", O_TMPFILE | O_WRONLY, mode)) < 0 ? -1 : 0;
  char name[32];
  temporary_name(name);
  w->fd = open_in(w->folder, name, O_CREAT | O_EXCL | O_WRONLY, mode);
  if (w->fd >= 0) memcpy(w->temporary, name, sizeof name);
  return w->fd < 0 ? -1 : 0;
}

static int open_target(struct writing *w, uint32_t mode) {
  struct stat info;
  int found = fstatat(w->folder, w->name, &info, AT_SYMLINK_NOFOLLOW) == 0;
  if (!found && errno != ENOENT) return -1;
  if ((w->flags & FLAG_APPEND) != 0) {
    if (found) return (w->fd = open_regular(w->folder, w->name, O_WRONLY | O_APPEND, &info)) < 0 ? -1 : 0;
    w->fd = open_in(w->folder, w->name, O_CREAT | O_EXCL | O_WRONLY | O_APPEND, mode == NO_MODE ? 0644 : mode & MODE_MASK);
    return w->fd < 0 ? -1 : 0;
  }
  if (may_replace(w, NULL) != 0) return -1;
  mode_t wanted = mode != NO_MODE ? mode & MODE_MASK : found ? info.st_mode & MODE_MASK : 0644;
  /* Mode again, because the umask has been at it. */
  return open_new(w, wanted) != 0 || fchmod(w->fd, wanted) != 0 ? -1 : 0;
}

void verb_write(const struct request *r) {
  const char *name;
  struct job *job = job_start(r->id, sizeof(struct writing));
  if (job == NULL) return;
  struct writing *w = job->state;
  *w = (struct writing){.folder = -1, .fd = -1, .flags = r->flags, .mtime_ns = -1};
  if ((r->flags & FLAG_MTIME) != 0 && r->second <= INT64_MAX) w->mtime_ns = (int64_t)r->second;
  job->close = write_close;
  job->data = write_data;
  job->commit = write_commit;
  w->folder = resolve_parent(r->path, r->flags, &name);
  if (w->folder < 0 && errno == ENOENT && (r->flags & FLAG_PARENTS) != 0 && make_parents(r->path, r->flags) == 0)
    w->folder = resolve_parent(r->path, r->flags, &name);
  if (w->folder < 0) return job_fail(job, errno == EBUSY ? EISDIR : errno);
  snprintf(w->name, sizeof w->name, "%s", name);
  if (open_target(w, r->number) != 0) job_fail(job, errno);
}
