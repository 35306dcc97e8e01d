/* The files of one workspace, served to control from outside the sandbox.
 *
 * The program starts as root, makes a root of its own that holds nothing but the workspace, becomes the sandbox's uid
 * and gives up every right it does not need (confine.c, filter.c). Only then does it read a byte of a request. What is
 * in the workspace changes under its hands: the agent may rename, link and truncate at any moment. So every path is
 * resolved by the kernel below the private root, every check is made on a descriptor, and nothing that could block is
 * ever opened for reading or writing.
 */
#ifndef CAISSON_FILES_H
#define CAISSON_FILES_H

#include <dirent.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "frame.h"

enum { SOCKET_FD = 0, JOBS_MAX = 128, WALK_DEPTH_MAX = 96, DESCRIPTORS_MAX = 4096 };

/* A request that takes more than one step. */
struct job {
  uint32_t id; /* 0: the slot is free */
  uint64_t credit;
  uint64_t need;     /* credit without which a step is not worth its call */
  int wait_fd;       /* a step also needs this descriptor to be readable; -1 for none */
  void (*step)(struct job *);
  void (*data)(struct job *, const uint8_t *bytes, size_t length);
  void (*commit)(struct job *, const uint8_t *version); /* NULL for any version */
  void (*close)(struct job *);                          /* frees `state` and what it holds */
  void *state;
};

/* main.c */
_Noreturn void die(int code);
void send_frame(uint8_t type, uint32_t id, const void *bytes, size_t length);
void send_failed(uint32_t id, int error);
/* The same, about the second path of the request. */
void send_failed_other(uint32_t id, int error);
void send_done(uint32_t id, const struct stat *info);
/* NULL, and a failure is sent, when too many are under way. */
struct job *job_start(uint32_t id, size_t state_bytes);
void job_end(struct job *job);
void job_fail(struct job *job, int error);
/* Sends a reply that is counted. */
void job_send(struct job *job, uint8_t type, const void *bytes, size_t length);

/* confine.c: leaves the process alone with the workspace. Returns 0, or the step that failed, with errno. */
int confine(const char *root, uid_t uid, gid_t gid);
/* filter.c */
int filter_system_calls(void);

/* resolve.c: all return a descriptor or -1 with errno. */
void resolve_start(void);
void resolve_home(void); /* makes the root the current folder again, so that no other is held */
int resolve(const char *path, uint32_t flags, uint64_t open_flags);
/* The folder that holds the last component, and the name of that component. */
int resolve_parent(const char *path, uint32_t flags, const char **name);
/* One name in a folder, never through a link. */
int open_in(int folder, const char *name, uint64_t open_flags, mode_t mode);
/* The same for a regular file: nothing else is opened for reading or writing. */
int open_regular(int folder, const char *name, uint64_t open_flags, struct stat *info);
int make_parents(const char *path, uint32_t flags);
void temporary_name(char name[32]);

/* walk.c: the tree below a folder, with no link followed and no mount crossed. */
struct walk_level {
  DIR *folder;
  size_t path_length;
};
struct walk {
  int depth;
  struct walk_level levels[WALK_DEPTH_MAX];
  size_t path_length;
  char path[PATH_BYTES_MAX + NAME_BYTES_MAX + 2]; /* of the current folder, below the start */
};
int walk_start(struct walk *walk, int folder); /* takes the descriptor over */
/* The next name in the current folder, or NULL at its end. */
const char *walk_next(struct walk *walk, int *folder);
/* Goes into a folder of the current folder. 0, or -1 with errno. */
int walk_enter(struct walk *walk, const char *name);
void walk_leave(struct walk *walk);
void walk_close(struct walk *walk);
/* Path of a name in the current folder. Returns -1 when it is too long. */
int walk_path(const struct walk *walk, const char *name, char out[PATH_BYTES_MAX + 1]);

/* verbs.c */
void verb_stat(const struct request *r);
void verb_mkdir(const struct request *r);
void verb_move(const struct request *r);
void verb_chmod(const struct request *r);
void verb_symlink(const struct request *r);
void verb_link(const struct request *r);
void verb_truncate(const struct request *r);
/* read.c, write.c, list.c, remove.c, watch.c, search.c */
void verb_read(const struct request *r);
void verb_write(const struct request *r);
void verb_list(const struct request *r);
void verb_remove(const struct request *r);
void verb_watch(const struct request *r);
void verb_search(const struct request *r);

#endif
