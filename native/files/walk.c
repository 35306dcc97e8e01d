#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int push(struct walk *walk, int folder) {
  DIR *opened = folder < 0 ? NULL : fdopendir(folder);
  if (opened == NULL) {
    int error = errno;
    if (folder >= 0) close(folder);
    errno = error;
    return -1;
  }
  walk->levels[walk->depth++] = (struct walk_level){.folder = opened, .path_length = walk->path_length};
  return 0;
}

int walk_start(struct walk *walk, int folder) { return push(walk, folder); }

/* The place of a mirror of records (native/store/mirror.c): nobody in a workspace can make a file immutable. */
static int is_mirror(int folder, const char *name) {
  struct statx info;
  if (strcmp(name, "audit.jsonl") != 0 || statx(folder, name, AT_SYMLINK_NOFOLLOW, STATX_TYPE, &info) != 0) return 0;
  return S_ISREG(info.stx_mode) && (info.stx_attributes & STATX_ATTR_IMMUTABLE) != 0;
}

const char *walk_next(struct walk *walk, int *folder) {
  DIR *opened = walk->levels[walk->depth - 1].folder;
  *folder = dirfd(opened);
  for (;;) {
    struct dirent *entry = readdir(opened);
    if (entry == NULL) return NULL;
    if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 && !is_mirror(*folder, entry->d_name)) return entry->d_name;
  }
}

int walk_path(const struct walk *walk, const char *name, char out[PATH_BYTES_MAX + 1]) {
  size_t length = strlen(name), at = walk->path_length;
  if (at + 1 + length > PATH_BYTES_MAX) return -1;
  memcpy(out, walk->path, at);
  if (at > 0) out[at++] = '/';
  memcpy(out + at, name, length + 1);
  return 0;
}

int walk_enter(struct walk *walk, const char *name) {
  char path[PATH_BYTES_MAX + 1];
  if (walk->depth == WALK_DEPTH_MAX || walk_path(walk, name, path) != 0) {
    errno = ENAMETOOLONG;
    return -1;
  }
  int folder = open_in(dirfd(walk->levels[walk->depth - 1].folder), name, O_RDONLY | O_DIRECTORY, 0);
  if (push(walk, folder) != 0) return -1;
  walk->path_length = strlen(path);
  memcpy(walk->path, path, walk->path_length + 1);
  return 0;
}

void walk_leave(struct walk *walk) {
  struct walk_level *level = &walk->levels[--walk->depth];
  walk->path_length = level->path_length;
  walk->path[walk->path_length] = 0;
  closedir(level->folder);
}

void walk_close(struct walk *walk) {
  while (walk->depth > 0) walk_leave(walk);
}
