#include "store.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct operation {
  const char *name;
  int arguments;
  void (*run)(char **arg);
};

static const struct operation OPERATIONS[] = {
    {"reflink", 1, op_reflink}, {"pool", 2, op_pool},     {"sweep", 1, op_sweep},   {"clone", 4, op_clone}, {"seal", 1, op_seal},
    {"attach", 5, op_attach},   {"detach", 3, op_detach}, {"diff", 4, op_diff},     {"pack", 1, op_pack},   {"unpack", 1, op_unpack},
};

/* Set once in the process of one operation that a server started. */
static const char *reply_id;

void reply_with_id(const char *id) { reply_id = id; }

/* One write of less than PIPE_BUF: replies of operations side by side do not mix. Archives own stdout, and say what
 * went wrong on stderr. */
static int reply_fd = STDOUT_FILENO;

static void reply(const char *text) {
  char line[2048];
  int length = reply_id == NULL ? snprintf(line, sizeof line, "%s\n", text) : snprintf(line, sizeof line, "%s %s\n", reply_id, text);
  if (length > 0 && write(reply_fd, line, (size_t)length) != length) _exit(3);
}

void finish(const char *format, ...) {
  char text[1024];
  va_list rest;
  va_start(rest, format);
  vsnprintf(text, sizeof text, format, rest);
  va_end(rest);
  reply(text);
  _exit(0);
}

void fail_as(int error, const char *step) {
  char text[1024];
  const char *name = strerrorname_np(error);
  snprintf(text, sizeof text, "error %s %s", name == NULL ? "EUNKNOWN" : name, step);
  reply(text);
  _exit(1);
}

void fail(const char *step) { fail_as(errno, step); }

long number(const char *text, const char *what) {
  char *end;
  errno = 0;
  long value = strtol(text, &end, 10);
  if (errno != 0 || *end != '\0' || end == text || value < 0) fail_as(EINVAL, what);
  return value;
}

void run_operation(int argc, char **argv) {
  for (size_t i = 0; i < sizeof OPERATIONS / sizeof *OPERATIONS; i++) {
    if (strcmp(argv[0], OPERATIONS[i].name) != 0) continue;
    if (argc - 1 != OPERATIONS[i].arguments) fail_as(EINVAL, "arguments");
    if (OPERATIONS[i].run == op_pack || OPERATIONS[i].run == op_unpack || OPERATIONS[i].run == op_diff) reply_fd = STDERR_FILENO;
    OPERATIONS[i].run(argv + 1);
    finish("ok");
  }
  fail_as(ENOSYS, argv[0]);
}

int main(int argc, char **argv) {
  if (argc == 4 && strcmp(argv[1], "serve") == 0) serve(argv[2], number(argv[3], "patience"));
  if (argc < 2) fail_as(EINVAL, "arguments");
  run_operation(argc - 1, argv + 1);
}
