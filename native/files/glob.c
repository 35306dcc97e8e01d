#include "glob.h"

#include <stddef.h>
#include <string.h>

/* Matches one byte against the set that starts behind `[`. Returns the end of the set, NULL when it has none. */
static const char *match_set(const char *set, const char *end, unsigned char byte, int *matched) {
  int negated = set < end && (*set == '!' || *set == '^');
  const char *at = set + negated, *first = at;
  int found = 0;
  for (; at < end && (*at != ']' || at == first); at++) {
    unsigned char low = (unsigned char)*at, high = low;
    if (at + 2 < end && at[1] == '-' && at[2] != ']') {
      high = (unsigned char)at[2];
      at += 2;
    }
    if (byte >= low && byte <= high) found = 1;
  }
  if (at >= end) return NULL;
  *matched = found != negated;
  return at + 1;
}

/* Matches one byte of a name against one element of the pattern. Returns what follows the element, NULL for no match. */
static const char *match_one(const char *pattern, const char *end, unsigned char byte) {
  int matched = 0;
  if (pattern == end) return NULL;
  if (*pattern == '?') return pattern + 1;
  if (*pattern == '[') {
    const char *after = match_set(pattern + 1, end, byte, &matched);
    if (after != NULL) return matched ? after : NULL;
  }
  if (*pattern == '\\' && pattern + 1 < end) pattern++;
  return (unsigned char)*pattern == byte ? pattern + 1 : NULL;
}

/* Only the last star is ever given more, which is enough: what stood before it has already matched. */
static int name_matches(const char *pattern, const char *pattern_end, const char *name, const char *name_end) {
  const char *star = NULL, *retry = NULL;
  while (name < name_end) {
    const char *next = pattern < pattern_end && *pattern == '*' ? NULL : match_one(pattern, pattern_end, (unsigned char)*name);
    if (next != NULL) {
      pattern = next;
      name++;
    } else if (pattern < pattern_end && *pattern == '*') {
      star = ++pattern;
      retry = name;
    } else if (star != NULL) {
      pattern = star;
      name = ++retry;
    } else {
      return 0;
    }
  }
  while (pattern < pattern_end && *pattern == '*') pattern++;
  return pattern == pattern_end;
}

static const char *component_end(const char *at) { return at + strcspn(at, "/"); }
static const char *component_next(const char *end) { return *end == '/' ? end + 1 : NULL; }

/* The same over whole names, with `**` for the star. NULL is the end. */
static int path_matches(const char *pattern, const char *path) {
  const char *star = NULL, *retry = NULL;
  int starred = 0;
  while (path != NULL) {
    const char *pattern_end = pattern == NULL ? NULL : component_end(pattern);
    const char *path_end = component_end(path);
    if (pattern != NULL && pattern_end - pattern == 2 && memcmp(pattern, "**", 2) == 0) {
      pattern = star = component_next(pattern_end);
      starred = 1;
      retry = path;
    } else if (pattern != NULL && name_matches(pattern, pattern_end, path, path_end)) {
      pattern = component_next(pattern_end);
      path = component_next(path_end);
    } else if (starred && retry != NULL) {
      pattern = star;
      path = retry = component_next(component_end(retry));
    } else {
      return 0;
    }
  }
  while (pattern != NULL && component_end(pattern) - pattern == 2 && memcmp(pattern, "**", 2) == 0) pattern = component_next(component_end(pattern));
  return pattern == NULL;
}

int glob_matches(const char *pattern, const char *path) {
  if (strchr(pattern, '/') != NULL) return path_matches(*pattern == '/' ? pattern + 1 : pattern, path);
  const char *last = strrchr(path, '/');
  const char *name = last == NULL ? path : last + 1;
  return name_matches(pattern, pattern + strlen(pattern), name, name + strlen(name));
}
