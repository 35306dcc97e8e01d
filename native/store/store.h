/* caisson-store: what the workspace store asks of the kernel. Every operation is one process that either finishes or
 * leaves nothing behind it that the next start does not find. */
#ifndef CAISSON_STORE_H
#define CAISSON_STORE_H

#include <stdint.h>
#include <sys/types.h>

/* The uid and gid that own everything in a workspace, as it stands on disk. */
#define OWNER_ID 1000

/* linux/fs.h, which has it, cannot be included beside sys/mount.h of glibc 2.36. */
#define STORE_FICLONE _IOW(0x94, 9, int)

/* main.c: the one reply of an operation, a line of "ok" and fields or "error ERRNO step". Both end the process. */
_Noreturn void finish(const char *format, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void fail(const char *step);
_Noreturn void fail_as(int error, const char *step);
void reply_with_id(const char *id);
long number(const char *text, const char *what);

/* serve.c */
_Noreturn void serve(const char *lock, long patience_ms);
_Noreturn void run_operation(int argc, char **argv);

/* loop.c */
int lock_image(const char *image, int patience_ms);
int loop_over(int image_fd, int *loop_fd);
int find_loop(int image_fd, int *loop_fd);

/* filesystem.c: a mounted file system that hangs in no tree; closing the descriptor ends it. */
enum { FS_READ_ONLY = 1, FS_NO_EXEC = 2 };
int mount_loop(const char *type, int loop_number, int flags);
int mount_image(const char *image, int flags, int *loop_number);
void map_owner(int mount_fd, uid_t host_uid);
void wait_until_free(const char *image, int patience_ms);

/* mirror.c: a file of the root that is immutable (ioctl_iflags(2)), over which a mirror of records is mounted. */
#define MIRROR_NAME "audit.jsonl"
int is_mirror(int root, const char *name);
void place_mirror(int mount, int wanted);

/* pool.c, image.c, diff.c, archive.c */
void op_reflink(char **arg);
void op_pool(char **arg);
void op_sweep(char **arg);
void op_clone(char **arg);
void op_seal(char **arg);
void op_attach(char **arg);
void op_detach(char **arg);
void op_diff(char **arg);
void op_pack(char **arg);
void op_unpack(char **arg);

#endif
