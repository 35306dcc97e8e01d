#ifndef CAISSON_PROBE_H
#define CAISSON_PROBE_H

#include <stddef.h>
#include <sys/types.h>

/* One attack, what it came to and what the attacker saw.
 *
 * Every attack is safe when it works: it takes back what it did, works on something of its own, or stops
 * at the point where permission was given. The same attacks are run outside a sandbox as root, to show
 * that they can work at all. */

enum outcome {
  HELD,    /* the attack was tried and did not work */
  THROUGH, /* the attack worked */
  UNABLE,  /* the attack could not be tried: says nothing about the wall */
};

struct report {
  enum outcome outcome;
  int line_fd; /* where the line goes; stdout unless the attack is on stdout */
  char saw[400];
};

struct probe {
  const char *name;
  void (*attack)(struct report *r, const struct probe *self);
  long number;      /* what `attack` makes of it: a flag, a call number */
  const char *text; /* what `attack` makes of it: paths separated by ':' */
};

/* Each table ends with a probe without a name. */
extern const struct probe privilege_probes[], mount_probes[], namespace_probes[], kernel_probes[], abi_probes[],
    file_probes[], proc_probes[], device_probes[], process_probes[], network_probes[], socket_probes[],
    resource_probes[];

void held(struct report *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
void through(struct report *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
void unable(struct report *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Adds to what was seen, without changing the outcome. */
void note(struct report *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A system call that gives a negative result was refused; any other result is a way through. */
void judge_call(struct report *r, const char *call, long result);
/* For calls that check permission first: an error of the later check shows that permission was given. */
void judge_late_error(struct report *r, const char *call, long result, int late_error);
void write_line(const char *name, const struct report *r);

const char *error_name(int error);

/* Parameters are the arguments of the form name=value. */
void take_parameters(int argc, char **argv);
const char *parameter(const char *name, const char *otherwise);
long parameter_number(const char *name, long otherwise);
/* The process that is attacked: pid 1 unless target=PID says otherwise. */
pid_t target(void);
/* A private copy of the mount table, so that a mount that works touches nobody else. May be refused. */
void own_mounts(void);
/* A directory of its own under dir=DIR (default: the working directory), or NULL. */
char *own_directory(void);
long long now_ms(void);
/* Reads the start of a file. Returns the bytes read, or -1 with errno. */
ssize_t read_start(const char *path, char *into, size_t size);
/* A field of /proc/PID/status (`self` or a number), or NULL. The answer lasts until the next call. */
const char *status_field(const char *pid, const char *field);

/* Runs until stdin ends. Returns the exit status. */
int victim(void);

/* A network namespace of its own whose loopback has the given address; -1 when refused. */
int own_network(const char *address);
/* Asks the kernel for an address on lo, or for a new link of a kind. 0 or -1 with errno. */
int netlink_add_address(const char *address);
int netlink_add_link(const char *kind);

#endif
