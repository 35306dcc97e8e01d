/* The requests that are answered at once. */
#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif

/* No file of a workspace becomes set-uid or set-gid from outside. */
enum { MODE_MASK = 01777 };

/* The folder that will hold the last component of the path, made on the way when the request says so. */
static int parent_of(const struct request *r, const char *path, const char **name) {
  int folder = resolve_parent(path, r->flags, name);
  if (folder >= 0 || errno != ENOENT || (r->flags & FLAG_PARENTS) == 0) return folder;
  return make_parents(path, r->flags) != 0 ? -1 : resolve_parent(path, r->flags, name);
}

/* Answers for a call that returned `failed`, and closes the folder. */
static void answer(uint32_t id, int failed, int folder) {
  int error = errno;
  if (folder >= 0) close(folder);
  if (failed) send_failed(id, error);
  else send_done(id, NULL);
}

/* The same for a call with two names, each in its folder. What the second name met is told of the second: its folder is
 * missing, or something is there that the first cannot take the place of. */
static void answer_two(uint32_t id, int failed, int from, int to) {
  int error = errno;
  if (to >= 0) close(to);
  close(from);
  if (!failed) return send_done(id, NULL);
  if (to >= 0 && error == ENOTDIR) error = EEXIST; /* both folders are there: a folder was to take the place of a file */
  if (to < 0 || error == EEXIST || error == ENOTEMPTY || error == EISDIR) return send_failed_other(id, error);
  send_failed(id, error);
}

void verb_stat(const struct request *r) {
  struct stat info;
  char target[PATH_BYTES_MAX + 1] = "";
  int fd = resolve(r->path, r->flags, O_PATH);
  if (fd < 0 || fstat(fd, &info) != 0) return answer(r->id, 1, fd);
  if (S_ISLNK(info.st_mode)) {
    ssize_t n = readlinkat(fd, "", target, PATH_BYTES_MAX);
    if (n < 0) return answer(r->id, 1, fd);
    target[n] = 0;
  }
  close(fd);
  uint8_t record[RECORD_BYTES_MAX];
  send_frame(REP_DONE, r->id, record, put_record(record, &info, "", target));
}

void verb_mkdir(const struct request *r) {
  const char *name;
  int folder = parent_of(r, r->path, &name);
  if (folder < 0) return answer(r->id, 1, -1);
  int failed = mkdirat(folder, name, r->number == NO_MODE ? 0755 : r->number & MODE_MASK) != 0;
  struct stat info;
  if (failed && errno == EEXIST && (r->flags & FLAG_PARENTS) != 0)
    failed = fstatat(folder, name, &info, AT_SYMLINK_NOFOLLOW) != 0 || (S_ISDIR(info.st_mode) ? 0 : (errno = EEXIST));
  answer(r->id, failed, folder);
}

void verb_move(const struct request *r) {
  const char *name, *other;
  int from = resolve_parent(r->path, r->flags, &name);
  if (from < 0) return answer(r->id, 1, -1);
  int to = parent_of(r, r->other, &other);
  int failed = to < 0 || renameat2(from, name, to, other, (r->flags & FLAG_EXCLUSIVE) != 0 ? RENAME_NOREPLACE : 0) != 0;
  answer_two(r->id, failed, from, to);
}

/* On the descriptor of the file itself, so that no link put in its place is followed. */
static int change_mode(int fd, int folder, const char *name, mode_t mode) {
  if (syscall(SYS_fchmodat2, fd, "", mode, AT_EMPTY_PATH) == 0) return 0;
  if (errno != ENOSYS) return -1;
  struct stat info;
  int opened = fstat(fd, &info) != 0 ? -1 : S_ISDIR(info.st_mode) ? open_in(folder, name, O_RDONLY | O_DIRECTORY, 0) : open_regular(folder, name, O_RDONLY, &info);
  if (opened < 0) return -1;
  int failed = fchmod(opened, mode);
  int error = errno;
  close(opened);
  errno = error;
  return failed;
}

void verb_chmod(const struct request *r) {
  const char *name;
  int folder = resolve_parent(r->path, r->flags, &name);
  if (folder < 0) return answer(r->id, 1, -1);
  struct stat info;
  int fd = open_in(folder, name, O_PATH, 0);
  int failed = fd < 0 || fstat(fd, &info) != 0;
  if (!failed && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode)) failed = (errno = ELOOP);
  failed = failed || change_mode(fd, folder, name, r->number & MODE_MASK) != 0;
  int error = errno;
  if (fd >= 0) close(fd);
  errno = error;
  answer(r->id, failed, folder);
}

void verb_symlink(const struct request *r) {
  const char *name;
  int folder = parent_of(r, r->path, &name);
  answer(r->id, folder < 0 || symlinkat(r->other, folder, name) != 0, folder);
}

/* A second name for a regular file. */
void verb_link(const struct request *r) {
  const char *name, *other;
  struct stat info;
  int from = resolve_parent(r->path, r->flags, &name);
  if (from < 0) return answer(r->id, 1, -1);
  int to = parent_of(r, r->other, &other);
  int failed = to < 0 || fstatat(from, name, &info, AT_SYMLINK_NOFOLLOW) != 0;
  if (!failed && !S_ISREG(info.st_mode)) failed = (errno = ENXIO);
  failed = failed || linkat(from, name, to, other, 0) != 0;
  answer_two(r->id, failed, from, to);
}

void verb_truncate(const struct request *r) {
  const char *name;
  struct stat info;
  int folder = resolve_parent(r->path, r->flags, &name);
  if (folder < 0) return answer(r->id, 1, -1);
  int fd = r->first > INT64_MAX ? (errno = EFBIG, -1) : open_regular(folder, name, O_WRONLY, &info);
  int failed = fd < 0 || ftruncate(fd, (off_t)r->first) != 0 || fsync(fd) != 0;
  int error = errno;
  if (fd >= 0) close(fd);
  errno = error;
  answer(r->id, failed, folder);
}
