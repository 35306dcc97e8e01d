/* Names of files by pattern. Time is bounded by the product of the two lengths for one name, and by that times the
 * number of components for a path: the agent chooses the names. */
#ifndef CAISSON_FILES_GLOB_H
#define CAISSON_FILES_GLOB_H

/* `*` any run of bytes, `?` any byte, `[a-z]` and `[!a-z]` one of a set, `\` the next byte as it is; within one name.
 * A pattern with a `/` is matched against the whole path, where `**` is any run of names; one without against the last
 * name. */
int glob_matches(const char *pattern, const char *path);

#endif
