/* System calls that an agent has no use for and an exploit has. */
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/fanotify.h>
#include <linux/io_uring.h>
#include <linux/keyctl.h>
#include <linux/perf_event.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <sys/utsname.h>
#include <unistd.h>

static void bpf_map(struct report *r, const struct probe *self) {
  (void)self;
  union bpf_attr attr = {.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 1};
  judge_call(r, "bpf(make a map)", syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof attr));
}

static void bpf_program(struct report *r, const struct probe *self) {
  (void)self;
  struct bpf_insn code[] = {{.code = BPF_ALU64 | BPF_MOV | BPF_K}, {.code = BPF_JMP | BPF_EXIT}};
  union bpf_attr attr = {.prog_type = BPF_PROG_TYPE_SOCKET_FILTER, .insn_cnt = 2};
  attr.insns = (unsigned long)code;
  attr.license = (unsigned long)"GPL";
  judge_call(r, "bpf(load a program)", syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof attr));
}

static void keyctl_join(struct report *r, const struct probe *self) {
  (void)self;
  judge_call(r, "keyctl(join a session keyring)", syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL));
}

static void add_a_key(struct report *r, const struct probe *self) {
  (void)self;
  judge_call(r, "add_key(user)", syscall(SYS_add_key, "user", "caisson-probe", "x", 1, KEY_SPEC_PROCESS_KEYRING));
}

static void request_a_key(struct report *r, const struct probe *self) {
  (void)self;
  syscall(SYS_add_key, "user", "caisson-probe", "x", 1, KEY_SPEC_PROCESS_KEYRING);
  judge_call(r, "request_key(user)", syscall(SYS_request_key, "user", "caisson-probe", NULL, 0));
}

static void user_fault(struct report *r, const struct probe *self) {
  (void)self;
  long plain = syscall(SYS_userfaultfd, O_CLOEXEC);
  if (plain >= 0) return through(r, "userfaultfd gave %ld", plain);
  judge_call(r, "userfaultfd(user mode only)", syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY));
}

static void io_uring(struct report *r, const struct probe *self) {
  (void)self;
  struct io_uring_params parameters = {0};
  judge_call(r, "io_uring_setup", syscall(SYS_io_uring_setup, 4, &parameters));
}

static void perf_event(struct report *r, const struct probe *self) {
  (void)self;
  struct perf_event_attr attr = {.type = PERF_TYPE_SOFTWARE, .size = sizeof attr, .config = PERF_COUNT_SW_CPU_CLOCK, .disabled = 1};
  judge_call(r, "perf_event_open", syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC));
}

/* The bytes are no module: ENOEXEC means that the kernel was willing to read them. */
static void init_a_module(struct report *r, const struct probe *self) {
  (void)self;
  char bytes[4096] = {0};
  judge_late_error(r, "init_module", syscall(SYS_init_module, bytes, sizeof bytes, ""), ENOEXEC);
}

static void finit_a_module(struct report *r, const struct probe *self) {
  (void)self;
  int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return unable(r, "open(/proc/self/exe): %s", error_name(errno));
  judge_late_error(r, "finit_module", syscall(SYS_finit_module, fd, "", 0), ENOEXEC);
}

/* Flags that no kernel knows: refused after the permission check and before anything is loaded or unloaded. */
static void kexec(struct report *r, const struct probe *self) {
  (void)self;
  judge_late_error(r, "kexec_load", syscall(SYS_kexec_load, 0, 0, NULL, 0x8000UL), EINVAL);
}

/* Without the magic numbers nothing restarts; the numbers are looked at after the permission check. */
static void restart(struct report *r, const struct probe *self) {
  (void)self;
  judge_late_error(r, "reboot(no magic)", syscall(SYS_reboot, 0, 0, 0, NULL), EINVAL);
}

static void open_by_handle(struct report *r, const struct probe *self) {
  (void)self;
  struct {
    struct file_handle head;
    unsigned char bytes[MAX_HANDLE_SZ];
  } handle = {.head = {.handle_bytes = MAX_HANDLE_SZ}};
  int mount_id, root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (root < 0) return unable(r, "open(/): %s", error_name(errno));
  if (name_to_handle_at(AT_FDCWD, "/", &handle.head, &mount_id, 0) != 0) {
    /* The root of ext4 is inode 2, generation 0: no need to ask. */
    handle.head = (struct file_handle){.handle_bytes = 8, .handle_type = 1};
    handle.bytes[0] = 2;
  }
  judge_call(r, "open_by_handle_at(/)", open_by_handle_at(root, &handle.head, O_RDONLY | O_CLOEXEC));
}

/* A file of zeros holds no swap signature: EINVAL comes after the permission check and nothing is swapped to. */
static void swap_file(struct report *r, const struct probe *self) {
  (void)self;
  char path[512], zeros[4096] = {0};
  snprintf(path, sizeof path, "%s/caisson-probe-XXXXXX", parameter("dir", "."));
  int fd = mkstemp(path);
  if (fd < 0) return unable(r, "no file: %s", error_name(errno));
  for (int i = 0; i < 16; i++)
    if (write(fd, zeros, sizeof zeros) < 0) break;
  fsync(fd);
  judge_late_error(r, "swapon", swapon(path, 0), EINVAL);
  close(fd);
  unlink(path);
}

/* Sets what is set already. */
static void set_clock(struct report *r, const struct probe *self) {
  (void)self;
  struct timex clock = {0};
  if (adjtimex(&clock) < 0) return held(r, "adjtimex: %s", error_name(errno));
  clock.modes = ADJ_MAXERROR;
  judge_call(r, "adjtimex(set)", adjtimex(&clock));
}

static void set_time_zone(struct report *r, const struct probe *self) {
  (void)self;
  struct timezone zone;
  if (syscall(SYS_gettimeofday, NULL, &zone) != 0) return unable(r, "gettimeofday: %s", error_name(errno));
  judge_call(r, "settimeofday", syscall(SYS_settimeofday, NULL, &zone));
}

static void set_host_name(struct report *r, const struct probe *self) {
  (void)self;
  struct utsname name;
  uname(&name);
  unshare(CLONE_NEWUTS);
  judge_call(r, "sethostname", sethostname(name.nodename, strlen(name.nodename)));
}

static void make_node(struct report *r, const struct probe *self) {
  char path[512];
  mode_t type = (mode_t)self->number;
  dev_t device = type == S_IFBLK ? makedev(8, 0) : makedev(1, 11);
  snprintf(path, sizeof path, "%s/caisson-probe-node-%d", parameter("dir", "."), (int)getpid());
  judge_call(r, type == S_IFBLK ? "mknod(block 8:0)" : "mknod(char 1:11)", mknod(path, type | 0600, device));
  unlink(path);
}

static void file_watch(struct report *r, const struct probe *self) {
  (void)self;
  judge_call(r, "fanotify_init(content)", syscall(SYS_fanotify_init, FAN_CLASS_CONTENT | FAN_CLOEXEC, O_RDONLY));
}

static void real_time(struct report *r, const struct probe *self) {
  (void)self;
  struct sched_param priority = {.sched_priority = 1};
  judge_call(r, "sched_setscheduler(real time)", sched_setscheduler(0, SCHED_FIFO, &priority));
}

static void raise_priority(struct report *r, const struct probe *self) {
  (void)self;
  errno = 0;
  int value = nice(-5);
  if (value == -1 && errno != 0) held(r, "nice(-5): %s", error_name(errno));
  else through(r, "nice is now %d", value);
}

static void guest_kernel(struct report *r, const struct probe *self) {
  (void)self;
  struct utsname name;
  const char *host = parameter("kernel", NULL);
  if (uname(&name) != 0 || host == NULL) return unable(r, "nothing to compare: no kernel=");
  (strcmp(name.release, host) == 0 ? through : held)(r, "kernel %s, the host's is %s", name.release, host);
}

const struct probe kernel_probes[] = {
    {.name = "bpf-map", .attack = bpf_map},
    {.name = "bpf-program", .attack = bpf_program},
    {.name = "keyctl", .attack = keyctl_join},
    {.name = "add-key", .attack = add_a_key},
    {.name = "request-key", .attack = request_a_key},
    {.name = "userfaultfd", .attack = user_fault},
    {.name = "io-uring", .attack = io_uring},
    {.name = "perf-event", .attack = perf_event},
    {.name = "init-module", .attack = init_a_module},
    {.name = "finit-module", .attack = finit_a_module},
    {.name = "kexec-load", .attack = kexec},
    {.name = "reboot", .attack = restart},
    {.name = "open-by-handle", .attack = open_by_handle},
    {.name = "swapon", .attack = swap_file},
    {.name = "set-clock", .attack = set_clock},
    {.name = "set-time-zone", .attack = set_time_zone},
    {.name = "set-host-name", .attack = set_host_name},
    {.name = "mknod-block", .attack = make_node, .number = S_IFBLK},
    {.name = "mknod-char", .attack = make_node, .number = S_IFCHR},
    {.name = "fanotify", .attack = file_watch},
    {.name = "real-time", .attack = real_time},
    {.name = "raise-priority", .attack = raise_priority},
    {.name = "host-kernel", .attack = guest_kernel},
    {0},
};
