#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { BATCH_BYTES = 64 * 1024 };

struct listing {
  uint32_t flags;
  struct walk walk;
};

static void list_close(struct job *job) { walk_close(&((struct listing *)job->state)->walk); }

/* One record of what is under the name now; 0 when it is gone or too deep to name. */
static size_t put_entry(const struct walk *walk, int folder, const char *name, struct stat *info, uint8_t *out) {
  char path[PATH_BYTES_MAX + 1], target[PATH_BYTES_MAX + 1] = "";
  if (walk_path(walk, name, path) != 0 || fstatat(folder, name, info, AT_SYMLINK_NOFOLLOW) != 0) return 0;
  if (S_ISLNK(info->st_mode)) {
    ssize_t n = readlinkat(folder, name, target, PATH_BYTES_MAX);
    if (n < 0) return 0;
    target[n] = 0;
  }
  return put_record(out, info, path, target);
}

static void list_step(struct job *job) {
  static uint8_t batch[BATCH_BYTES];
  struct listing *l = job->state;
  size_t most = job->credit < sizeof batch ? (size_t)job->credit : sizeof batch, have = 0;
  while (most - have >= RECORD_BYTES_MAX) {
    int folder;
    struct stat info;
    const char *name = walk_next(&l->walk, &folder);
    if (name == NULL) {
      walk_leave(&l->walk);
      if (l->walk.depth == 0) break;
      continue;
    }
    size_t length = put_entry(&l->walk, folder, name, &info, batch + have);
    have += length;
    if (length == 0 || !S_ISDIR(info.st_mode) || (l->flags & FLAG_RECURSIVE) == 0) continue;
    /* Gone, or a link, since it was looked at: no longer there to be listed. A folder that may not be read is an entry
     * whose content stays unknown, as for ls. */
    if (walk_enter(&l->walk, name) != 0 && errno != ENOENT && errno != ELOOP && errno != ENOTDIR && errno != EACCES && errno != EXDEV)
      return job_fail(job, errno);
  }
  if (have > 0) job_send(job, REP_ENTRIES, batch, have);
  if (l->walk.depth > 0) return;
  uint32_t id = job->id;
  job_end(job);
  send_done(id, NULL);
}

void verb_list(const struct request *r) {
  int folder = resolve(r->path, r->flags, O_RDONLY | O_DIRECTORY);
  if (folder < 0) return send_failed(r->id, errno);
  struct job *job = job_start(r->id, sizeof(struct listing));
  if (job == NULL) {
    close(folder);
    return;
  }
  struct listing *l = job->state;
  l->flags = r->flags;
  job->close = list_close;
  job->step = list_step;
  job->need = RECORD_BYTES_MAX;
  if (walk_start(&l->walk, folder) != 0) job_fail(job, errno);
}
