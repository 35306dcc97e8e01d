#include "store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * diff A B SINCE LIMIT: what B has other than A, both images that nobody writes. Every entry is five fields that end in
 * NUL: kind, type, size, mode, path; the last is the one field "end", or "truncated" after LIMIT entries or OUTPUT_BYTES.
 *
 * Clones keep inode numbers and change times. SINCE is the second at which B, as a descendant of A, parted from it: what
 * was last changed before has not been changed since, and is not read. 0 reads everything that could differ.
 *
 * Trees are as deep and names as hostile as whoever made them likes: the walk keeps one folder of each side open, goes up by
 * "..", which nobody can move in a read-only file system, and never builds a path that the kernel must resolve.
 */
enum { A, B, SIDES, CHUNK_BYTES = 1 << 18, OUTPUT_BYTES = 1 << 24 };
/* Names of all folders on the way are held, and hard links make names cheap: whoever has more is told so, and no host runs out. */
static const rlim_t MEMORY_BYTES = 1 << 30;

struct folder {
  char **names; /* of both sides, sorted, each once */
  size_t count, next;
  int present[SIDES];
  size_t path_length;
};

static int current[SIDES]; /* the deepest folder of each side that is on the way to here */
static struct folder *stack;
static size_t depth, room;
static char *path;
static size_t path_length, path_room;
static size_t written;
static long entries_left;
static time_t since;

static void *grown(void *old, size_t bytes) {
  void *fresh = realloc(old, bytes);
  if (fresh == NULL) fail_as(ENOMEM, "memory");
  return fresh;
}

static const char *type_of(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFREG: return "file";
    case S_IFDIR: return "directory";
    case S_IFLNK: return "symlink";
    case S_IFIFO: return "fifo";
    case S_IFSOCK: return "socket";
    default: return "device";
  }
}

static _Noreturn void stop(const char *word) {
  if (fwrite(word, strlen(word) + 1, 1, stdout) != 1 || fflush(stdout) != 0) fail("output");
  _exit(0);
}

static void emit(const char *kind, const struct stat *info) {
  if (entries_left-- == 0 || written > OUTPUT_BYTES) stop("truncated");
  int n = printf("%s%c%s%c%lld%c%o%c", kind, 0, type_of(info->st_mode), 0, (long long)info->st_size, 0, info->st_mode & 07777, 0);
  if (n < 0 || fwrite(path, path_length + 1, 1, stdout) != 1) fail("output");
  written += (size_t)n + path_length + 1;
}

static void set_name(size_t at, const char *name) {
  size_t length = strlen(name), slash = at > 0 ? 1 : 0;
  if (at + slash + length + 1 > path_room) path = grown(path, path_room = 2 * (at + slash + length + 1));
  if (slash) path[at] = '/';
  memcpy(path + at + slash, name, length + 1);
  path_length = at + slash + length;
}

static int by_bytes(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static void read_names(struct folder *folder, int side, size_t *space) {
  int fd = openat(current[side], ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *dir = fd < 0 ? NULL : fdopendir(fd);
  if (dir == NULL) fail("folder");
  struct dirent *entry;
  while ((errno = 0, entry = readdir(dir)) != NULL) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    if (depth == 1 && is_mirror(current[side], entry->d_name)) continue; /* it is not of who works there */
    if (folder->count == *space) folder->names = grown(folder->names, (*space = *space * 2 + 16) * sizeof *folder->names);
    char *name = strdup(entry->d_name);
    if (name == NULL) fail_as(ENOMEM, "memory");
    folder->names[folder->count++] = name;
  }
  if (errno != 0) fail("folder");
  closedir(dir);
}

/* Enters what `current` names on the sides that are present. */
static void push(int in_a, int in_b) {
  if (depth == room) stack = grown(stack, (room = room * 2 + 64) * sizeof *stack);
  struct folder *folder = &stack[depth++];
  *folder = (struct folder){.present = {in_a, in_b}, .path_length = path_length};
  size_t space = 0, kept = 0;
  for (int side = A; side < SIDES; side++)
    if (folder->present[side]) read_names(folder, side, &space);
  if (folder->count > 0) qsort(folder->names, folder->count, sizeof *folder->names, by_bytes);
  for (size_t i = 0; i < folder->count; i++) {
    if (kept > 0 && strcmp(folder->names[kept - 1], folder->names[i]) == 0) free(folder->names[i]);
    else folder->names[kept++] = folder->names[i];
  }
  folder->count = kept;
}

static void move_to(int side, const char *name) {
  int fd = openat(current[side], name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) fail("folder");
  close(current[side]);
  current[side] = fd;
}

static void pop(void) {
  struct folder *folder = &stack[--depth];
  free(folder->names);
  if (depth == 0) return;
  for (int side = A; side < SIDES; side++)
    if (folder->present[side]) move_to(side, "..");
}

static off_t next_data(int fd, off_t from, off_t size) {
  off_t at = lseek(fd, from, SEEK_DATA);
  if (at < 0 && errno != ENXIO) fail("seek");
  return at < 0 ? size : at;
}

static void read_chunk(int fd, char *bytes, size_t length, off_t at) {
  for (size_t have = 0; have < length;) {
    ssize_t n = pread(fd, bytes + have, length - have, at + (off_t)have);
    if (n <= 0) fail("read");
    have += (size_t)n;
  }
}

/* Holes are skipped: a sparse file costs what it holds, not what it says. */
static int same_bytes(const char *name, off_t size) {
  static char bytes[SIDES][CHUNK_BYTES];
  int fd[SIDES], same = 1;
  for (int side = A; side < SIDES; side++) {
    fd[side] = openat(current[side], name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd[side] < 0) fail("file");
  }
  for (off_t at = 0; same && at < size;) {
    off_t a = next_data(fd[A], at, size), b = next_data(fd[B], at, size);
    at = a < b ? a : b;
    size_t length = size - at < CHUNK_BYTES ? (size_t)(size - at) : CHUNK_BYTES;
    for (int side = A; side < SIDES; side++) read_chunk(fd[side], bytes[side], length, at);
    same = memcmp(bytes[A], bytes[B], length) == 0;
    at += (off_t)length;
  }
  close(fd[A]);
  close(fd[B]);
  return same;
}

static int same_target(const char *name) {
  char target[SIDES][4096];
  ssize_t length[SIDES];
  for (int side = A; side < SIDES; side++) {
    length[side] = readlinkat(current[side], name, target[side], sizeof target[side]);
    if (length[side] < 0) fail("symlink");
  }
  return length[A] == length[B] && memcmp(target[A], target[B], (size_t)length[A]) == 0;
}

static int differs(const char *name, const struct stat *a, const struct stat *b) {
  if (a->st_mode != b->st_mode || a->st_size != b->st_size) return 1;
  if (a->st_ino == b->st_ino && a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec && a->st_ctim.tv_sec < since) return 0;
  if (S_ISREG(a->st_mode)) return !same_bytes(name, a->st_size);
  if (S_ISLNK(a->st_mode)) return !same_target(name);
  return S_ISBLK(a->st_mode) || S_ISCHR(a->st_mode) ? a->st_rdev != b->st_rdev : 0;
}

static int look(const struct folder *folder, int side, const char *name, struct stat *info) {
  if (!folder->present[side]) return 0;
  if (fstatat(current[side], name, info, AT_SYMLINK_NOFOLLOW) == 0) return 1;
  if (errno != ENOENT) fail("stat");
  return 0;
}

static void visit(const struct folder *folder, const char *name) {
  struct stat info[SIDES];
  int in_a = look(folder, A, name, &info[A]), in_b = look(folder, B, name, &info[B]);
  int dir_a = in_a && S_ISDIR(info[A].st_mode), dir_b = in_b && S_ISDIR(info[B].st_mode);
  if (in_a && in_b && dir_a == dir_b) {
    if (dir_a ? info[A].st_mode != info[B].st_mode : differs(name, &info[A], &info[B])) emit("changed", &info[B]);
  } else {
    if (in_a) emit("removed", &info[A]);
    if (in_b) emit("added", &info[B]);
  }
  if (!dir_a && !dir_b) return;
  if (dir_a) move_to(A, name);
  if (dir_b) move_to(B, name);
  push(dir_a, dir_b);
}

void op_diff(char **arg) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  struct rlimit memory = {MEMORY_BYTES, MEMORY_BYTES};
  if (setrlimit(RLIMIT_AS, &memory) < 0) fail("setrlimit");
  for (int side = A; side < SIDES; side++) {
    int mount = mount_image(arg[side], FS_READ_ONLY | FS_NO_EXEC, NULL);
    current[side] = openat(mount, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (current[side] < 0) fail("root");
    close(mount);
  }
  since = number(arg[2], "since");
  entries_left = number(arg[3], "limit");
  set_name(0, "");
  push(1, 1);
  while (depth > 0) {
    struct folder *folder = &stack[depth - 1];
    if (folder->next == folder->count) {
      pop();
      continue;
    }
    char *name = folder->names[folder->next++];
    set_name(folder->path_length, name);
    struct folder here = *folder; /* the stack may move */
    visit(&here, name);
    free(name);
  }
  stop("end");
}
