#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

enum { WATCHES_MAX = 2048, BATCH_BYTES = 64 * 1024, EVENT_FIXED_BYTES = 8, EVENT_BYTES_MAX = EVENT_FIXED_BYTES + PATH_BYTES_MAX };
/* Of a batch: room for an overflow of the top and for its end. */
enum { END_BYTES = 2 * EVENT_FIXED_BYTES };
/* Kinds of events in a reply: u32 kind, u32 path bytes, path below the watched folder. */
enum { EVENT_CREATED = 1, EVENT_CHANGED, EVENT_REMOVED, EVENT_OVERFLOW, EVENT_ENDED };

static const uint32_t WANTED = IN_CREATE | IN_CLOSE_WRITE | IN_MODIFY | IN_ATTRIB | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF |
                               IN_MOVE_SELF | IN_ONLYDIR | IN_DONT_FOLLOW | IN_EXCL_UNLINK;

struct watching {
  int notify;
  uint32_t flags;
  int count;
  int full, ended; /* what the batch must still say at its end: that something is left out, that the folder is gone */
  size_t have, last; /* of the batch: its bytes, and where its last event starts */
  struct {
    int id;
    char *path; /* of a folder, below the top; empty for the top itself */
  } watches[WATCHES_MAX];
  char top[PATH_BYTES_MAX + 1]; /* no descriptor: one would keep the folder from ever being gone */
  uint8_t batch[BATCH_BYTES];
};

static void watch_close(struct job *job) {
  struct watching *w = job->state;
  for (int i = 0; i < w->count; i++) free(w->watches[i].path);
  if (w->notify >= 0) close(w->notify);
}

/* Adds an event to the batch, up to so many bytes; one that says the same as the one before it is left out. Returns 0 when
 * there is no room. */
static int append_event(struct watching *w, size_t most, uint32_t kind, const char *path) {
  size_t length = strlen(path);
  uint8_t event[EVENT_BYTES_MAX];
  if (length > PATH_BYTES_MAX) return 0;
  put32(event, kind);
  put32(event + 4, (uint32_t)length);
  memcpy(event + EVENT_FIXED_BYTES, path, length);
  size_t whole = EVENT_FIXED_BYTES + length;
  if (w->have - w->last == whole && memcmp(w->batch + w->last, event, whole) == 0) return 1;
  if (w->have + whole > most) return 0;
  w->last = w->have;
  memcpy(w->batch + w->have, event, whole);
  w->have += whole;
  return 1;
}

/* What has no room is not told, and the end of the batch says so: that there is always room for. */
static void put_event(struct watching *w, uint32_t kind, const char *path) {
  if (append_event(w, BATCH_BYTES - END_BYTES, kind, path)) return;
  if (kind == EVENT_ENDED) w->ended = 1;
  else w->full = 1;
}

/* A step is made only with credit for a whole batch. */
static void send_batch(struct job *job) {
  struct watching *w = job->state;
  if (w->full) append_event(w, BATCH_BYTES, EVENT_OVERFLOW, "");
  if (w->ended) append_event(w, BATCH_BYTES, EVENT_ENDED, "");
  w->full = w->ended = 0;
  if (w->have > 0) job_send(job, REP_EVENTS, w->batch, w->have);
  w->have = w->last = 0;
}

/* inotify takes paths only; the folder itself, held by a descriptor, is "." to it. */
static int add_watch(struct watching *w, int folder, const char *path) {
  if (w->count == WATCHES_MAX) return errno = ENOSPC, -1;
  int id = fchdir(folder) != 0 ? -1 : inotify_add_watch(w->notify, ".", WANTED);
  int error = errno;
  resolve_home();
  if (id < 0) return errno = error, -1;
  char *copy = strdup(path);
  if (copy == NULL) return -1;
  for (int i = 0; i < w->count; i++)
    if (w->watches[i].id == id) { /* the same folder under a new name */
      free(w->watches[i].path);
      w->watches[i].path = copy;
      return 0;
    }
  w->watches[w->count].id = id;
  w->watches[w->count++].path = copy;
  return 0;
}

static int is_watched(const struct watching *w, const char *path) {
  for (int i = 0; i < w->count; i++)
    if (strcmp(w->watches[i].path, path) == 0) return 1;
  return 0;
}

static const char *path_of(const struct watching *w, int id) {
  for (int i = 0; i < w->count; i++)
    if (w->watches[i].id == id) return w->watches[i].path;
  return NULL;
}

static void forget(struct watching *w, int i) {
  free(w->watches[i].path);
  w->watches[i] = w->watches[--w->count];
}

/* A folder that has moved away takes all below it along. */
static void forget_below(struct watching *w, const char *path) {
  size_t length = strlen(path);
  for (int i = w->count - 1; i >= 0; i--) {
    const char *known = w->watches[i].path;
    if (strncmp(known, path, length) != 0 || (known[length] != 0 && known[length] != '/')) continue;
    inotify_rm_watch(w->notify, w->watches[i].id);
    forget(w, i);
  }
}

/* What is gone by now, or is no folder, has nothing to tell. Any other folder that is not watched does. */
static int has_nothing(int error) { return error == ENOENT || error == ELOOP || error == ENOTDIR; }

/* Goes into what has this name, where it is a folder, and watches it. One that cannot be watched is left out, and an
 * overflow says so. Returns -1 with ENOSPC when there are too many. */
static int add_below(struct watching *w, struct walk *walk, int current, const char *name) {
  struct stat info;
  if (fstatat(current, name, &info, AT_SYMLINK_NOFOLLOW) == 0) {
    if (!S_ISDIR(info.st_mode)) return 0;
    if (walk_enter(walk, name) == 0 && add_watch(w, dirfd(walk->levels[walk->depth - 1].folder), walk->path) == 0) return 0;
  }
  if (errno == ENOSPC) return -1;
  if (!has_nothing(errno)) w->full = 1;
  return 0;
}

/* Watches a folder and all below it. Returns -1 when it cannot be watched itself, or with ENOSPC when there are too many. */
static int add_tree(struct watching *w, int folder, const char *path) {
  struct walk *walk = calloc(1, sizeof *walk);
  if (walk == NULL || walk_start(walk, folder) != 0) return free(walk), -1;
  walk->path_length = strlen(path);
  memcpy(walk->path, path, walk->path_length + 1);
  walk->levels[0].path_length = walk->path_length;
  int result = add_watch(w, folder, path);
  while (result == 0 && walk->depth > 0) {
    int current;
    const char *name = (w->flags & FLAG_RECURSIVE) == 0 ? NULL : walk_next(walk, &current);
    if (name == NULL) walk_leave(walk);
    else result = add_below(w, walk, current, name);
  }
  int error = errno;
  walk_close(walk);
  free(walk);
  errno = error;
  return result;
}

/* A folder has appeared, or may be one that can be watched by now. What was made in it before it was watched has been
 * missed, and an overflow says that; one of the top says that it is still not watched, or not all of it. */
static void follow_new(struct watching *w, const char *path) {
  char below[PATH_BYTES_MAX + 1];
  memcpy(below, path, strlen(path) + 1);
  int folder = resolve(w->top, w->flags | FLAG_FOLLOW, O_RDONLY | O_DIRECTORY);
  for (char *name = strtok(below, "/"); name != NULL && folder >= 0; name = strtok(NULL, "/")) {
    int next = open_in(folder, name, O_RDONLY | O_DIRECTORY, 0);
    close(folder);
    folder = next;
  }
  if (folder < 0 && has_nothing(errno)) return; /* gone again */
  if (folder < 0 || add_tree(w, folder, path) != 0) w->full = 1;
  put_event(w, EVENT_OVERFLOW, path);
}

static void on_event(struct watching *w, const struct inotify_event *event) {
  char path[PATH_BYTES_MAX + 1];
  const char *folder = path_of(w, event->wd);
  if ((event->mask & IN_Q_OVERFLOW) != 0) put_event(w, EVENT_OVERFLOW, "");
  if (folder == NULL) return;
  if ((event->mask & (IN_DELETE_SELF | IN_MOVE_SELF)) != 0 && folder[0] == 0) put_event(w, EVENT_ENDED, "");
  if ((event->mask & IN_IGNORED) != 0) {
    for (int i = 0; i < w->count; i++)
      if (w->watches[i].id == event->wd) return forget(w, i);
  }
  if (event->len == 0) return;
  size_t length = strlen(folder), name_length = strnlen(event->name, event->len);
  if (length + 1 + name_length > PATH_BYTES_MAX) {
    w->full = 1;
    return;
  }
  memcpy(path, folder, length);
  if (length > 0) path[length++] = '/';
  memcpy(path + length, event->name, name_length);
  path[length + name_length] = 0;
  int is_folder = (event->mask & IN_ISDIR) != 0, follows = is_folder && (w->flags & FLAG_RECURSIVE) != 0;
  if ((event->mask & (IN_DELETE | IN_MOVED_FROM)) != 0) {
    put_event(w, EVENT_REMOVED, path);
    if (is_folder) forget_below(w, path);
  } else if ((event->mask & (IN_CREATE | IN_MOVED_TO)) != 0) {
    put_event(w, EVENT_CREATED, path);
    if (follows) follow_new(w, path);
  } else {
    put_event(w, EVENT_CHANGED, path);
    if (follows && (event->mask & IN_ATTRIB) != 0 && !is_watched(w, path)) follow_new(w, path); /* it may be readable now */
  }
}

static void watch_step(struct job *job) {
  struct watching *w = job->state;
  /* So small that what it turns into has room in one batch but for long paths. */
  uint8_t bytes[6 * (sizeof(struct inotify_event) + NAME_BYTES_MAX + 1)] __attribute__((aligned(8)));
  ssize_t n = read(w->notify, bytes, sizeof bytes);
  if (n < 0) return errno == EAGAIN || errno == EINTR ? (void)0 : job_fail(job, errno);
  for (ssize_t at = 0; at < n;) {
    const struct inotify_event *event = (const struct inotify_event *)(const void *)(bytes + at);
    on_event(w, event);
    at += (ssize_t)(sizeof *event + event->len);
  }
  send_batch(job);
}

void verb_watch(const struct request *r) {
  struct job *job = job_start(r->id, sizeof(struct watching));
  if (job == NULL) return;
  struct watching *w = job->state;
  w->flags = r->flags;
  w->notify = -1;
  job->close = watch_close;
  memcpy(w->top, r->path, strlen(r->path) + 1);
  w->notify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  int folder = w->notify < 0 ? -1 : resolve(r->path, r->flags | FLAG_FOLLOW, O_RDONLY | O_DIRECTORY);
  if (folder < 0 || add_tree(w, folder, "") != 0) return job_fail(job, errno);
  job->step = watch_step;
  job->need = BATCH_BYTES;
  job->wait_fd = w->notify;
  /* From here on nothing is missed without an overflow; what is not watched from the start is the first. */
  send_frame(REP_INFO, job->id, NULL, 0);
  send_batch(job);
}
