#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Names that are removed in one step, and how often a folder that fills up again is emptied again. */
enum { STEP_NAMES = 256, TRIES_MAX = 64 };

struct removal {
  int folder; /* that holds the name, -1 once it is closed */
  int tries;
  char name[NAME_BYTES_MAX + 1];
  struct walk walk;
};

static void remove_close(struct job *job) {
  struct removal *m = job->state;
  walk_close(&m->walk);
  if (m->folder >= 0) close(m->folder);
}

static void finish(struct job *job, int error) {
  if (error != 0) return job_fail(job, error);
  uint32_t id = job->id;
  job_end(job);
  send_done(id, NULL);
}

/* A folder below the deepest that a walk reaches is moved up to the top, and met there again. */
static int flatten(struct removal *m, int folder, const char *name) {
  char up[32];
  temporary_name(up);
  return renameat2(folder, name, dirfd(m->walk.levels[0].folder), up, RENAME_NOREPLACE);
}

/* Removes one name of the current folder, or goes into it. */
static int remove_name(struct removal *m, int folder, const char *name) {
  if (unlinkat(folder, name, 0) == 0 || errno == ENOENT) return 0;
  if (errno != EISDIR && errno != EPERM) return -1;
  if (unlinkat(folder, name, AT_REMOVEDIR) == 0 || errno == ENOENT || errno == ENOTDIR) return 0;
  if (errno != ENOTEMPTY && errno != EEXIST) return -1;
  if (walk_enter(&m->walk, name) == 0 || errno == ENOENT || errno == ENOTDIR || errno == ELOOP) return 0;
  return errno == ENAMETOOLONG ? flatten(m, folder, name) : -1;
}

/* The current folder has come to its end: it goes, unless something is in it again. */
static int leave(struct removal *m) {
  struct walk *walk = &m->walk;
  const struct walk_level *level = &walk->levels[walk->depth - 1];
  const char *last = strrchr(walk->path, '/');
  const char *name = walk->depth == 1 ? m->name : last != NULL ? last + 1 : walk->path;
  int above = walk->depth == 1 ? m->folder : dirfd(walk->levels[walk->depth - 2].folder);
  if (unlinkat(above, name, AT_REMOVEDIR) != 0) {
    if ((errno == ENOTEMPTY || errno == EEXIST) && ++m->tries <= TRIES_MAX) {
      rewinddir(level->folder);
      return 0;
    }
    if (errno != ENOENT && errno != ENOTDIR) return -1;
  }
  walk_leave(walk);
  return 0;
}

static void remove_step(struct job *job) {
  struct removal *m = job->state;
  for (int names = 0; names < STEP_NAMES && m->walk.depth > 0; names++) {
    int folder;
    const char *name = walk_next(&m->walk, &folder);
    if ((name == NULL ? leave(m) : remove_name(m, folder, name)) != 0) return finish(job, errno);
  }
  if (m->walk.depth == 0) finish(job, 0);
}

void verb_remove(const struct request *r) {
  const char *name;
  struct job *job = job_start(r->id, sizeof(struct removal));
  if (job == NULL) return;
  struct removal *m = job->state;
  job->close = remove_close;
  m->folder = resolve_parent(r->path, r->flags, &name);
  if (m->folder < 0) return finish(job, errno);
  snprintf(m->name, sizeof m->name, "%s", name);
  if (unlinkat(m->folder, name, 0) == 0) return finish(job, 0);
  if (errno != EISDIR && errno != EPERM) return finish(job, errno);
  if (unlinkat(m->folder, name, AT_REMOVEDIR) == 0) return finish(job, 0);
  if ((errno != ENOTEMPTY && errno != EEXIST) || (r->flags & FLAG_RECURSIVE) == 0) return finish(job, errno);
  int top = open_in(m->folder, name, O_RDONLY | O_DIRECTORY, 0);
  if (top < 0 || walk_start(&m->walk, top) != 0) return finish(job, errno);
  job->step = remove_step;
}
