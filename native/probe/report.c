#include "probe.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

const char *error_name(int error) {
  const char *name = strerrorname_np(error);
  return name != NULL ? name : "unknown errno";
}

static void append(struct report *r, const char *format, va_list arguments) {
  size_t used = strlen(r->saw);
  vsnprintf(r->saw + used, sizeof r->saw - used, format, arguments);
}

static void say(struct report *r, enum outcome outcome, const char *format, va_list arguments) {
  r->outcome = outcome;
  r->saw[0] = 0;
  append(r, format, arguments);
}

void held(struct report *r, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  say(r, HELD, format, arguments);
  va_end(arguments);
}

void through(struct report *r, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  say(r, THROUGH, format, arguments);
  va_end(arguments);
}

void unable(struct report *r, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  say(r, UNABLE, format, arguments);
  va_end(arguments);
}

void note(struct report *r, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  if (r->saw[0] != 0) strncat(r->saw, ", ", sizeof r->saw - strlen(r->saw) - 1);
  append(r, format, arguments);
  va_end(arguments);
}

void judge_call(struct report *r, const char *call, long result) {
  if (result >= 0) through(r, "%s gave %ld", call, result);
  else held(r, "%s: %s", call, error_name(errno));
}

void judge_late_error(struct report *r, const char *call, long result, int late_error) {
  if (result >= 0) through(r, "%s gave %ld", call, result);
  else if (errno == late_error) through(r, "%s: %s, which comes after the permission check", call, error_name(errno));
  else held(r, "%s: %s", call, error_name(errno));
}

static size_t put_text(char *into, size_t size, const char *text) {
  size_t used = 0;
  for (; *text != 0 && used + 8 < size; text++) {
    unsigned char c = (unsigned char)*text;
    if (c == '"' || c == '\\') used += (size_t)sprintf(into + used, "\\%c", c);
    else if (c < 0x20 || c >= 0x7f) used += (size_t)sprintf(into + used, "\\u%04x", c);
    else into[used++] = (char)c;
  }
  into[used] = 0;
  return used;
}

/* One write, so that lines of different processes do not mix. */
void write_line(const char *name, const struct report *r) {
  static const char *const words[] = {[HELD] = "false", [THROUGH] = "true", [UNABLE] = "null"};
  char saw[6 * sizeof r->saw + 8], line[sizeof saw + 128];
  put_text(saw, sizeof saw, r->saw);
  int length = snprintf(line, sizeof line, "{\"probe\":\"%s\",\"through\":%s,\"saw\":\"%s\"}\n", name, words[r->outcome], saw);
  for (int at = 0; at < length;) {
    ssize_t n = write(r->line_fd, line + at, (size_t)(length - at));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) _exit(70);
    at += (int)n;
  }
}
