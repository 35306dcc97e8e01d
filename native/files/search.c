/* Looks for names and for text in the files of a tree. The agent chooses what is in them, so time and memory are bounded:
 * a step reads one chunk, a long line is looked at in pieces, and the whole search has a budget of time. */
#include "files.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <regex.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "glob.h"

enum {
  CHUNK_BYTES = 64 * 1024, PIECE_BYTES = 16 * 1024, SHOWN_BYTES = 512, PATTERN_BYTES_MAX = 1024, REPEATS_MAX = 256, GROUPS_MAX = 32, COST_MAX = 2048,
  STEP_NAMES = 256, BATCH_BYTES = 64 * 1024, MATCH_FIXED_BYTES = 20, MATCH_BYTES_MAX = MATCH_FIXED_BYTES + PATH_BYTES_MAX + SHOWN_BYTES,
};

struct search {
  uint32_t flags, left;
  uint64_t file_bytes_max, ms_max;
  struct timespec started;
  int compiled, fd; /* fd: of the file being searched, -1 between files */
  uint64_t file_left;
  uint32_t line;
  size_t have; /* bytes of `chunk` that no line has been made of yet */
  regex_t regex;
  char glob[PATTERN_BYTES_MAX + 1], text[PATTERN_BYTES_MAX + 1], path[PATH_BYTES_MAX + 1];
  struct walk walk;
  size_t batched;
  uint8_t batch[BATCH_BYTES];
  char chunk[CHUNK_BYTES + 1];
};

static void search_close(struct job *job) {
  struct search *s = job->state;
  if (s->fd >= 0) close(s->fd);
  if (s->compiled) regfree(&s->regex);
  walk_close(&s->walk);
}

/* A match: u32 line (0 for a name), u32 column in bytes from 1, u32 path bytes, u32 text bytes, u32 zero, path, text. */
static void put_match(struct search *s, uint32_t line, size_t column, const char *text, size_t length) {
  uint8_t *at = s->batch + s->batched;
  size_t path_length = strlen(s->path);
  if (length > SHOWN_BYTES) length = SHOWN_BYTES;
  put32(at, line);
  put32(at + 4, (uint32_t)column);
  put32(at + 8, (uint32_t)path_length);
  put32(at + 12, (uint32_t)length);
  put32(at + 16, 0);
  memcpy(at + MATCH_FIXED_BYTES, s->path, path_length);
  memcpy(at + MATCH_FIXED_BYTES + path_length, text, length);
  s->batched += MATCH_FIXED_BYTES + path_length + length;
  s->left--;
}

static const char *find_text(const struct search *s, const char *line, size_t length) {
  if ((s->flags & FLAG_REGEX) != 0) {
    regmatch_t match;
    return regexec(&s->regex, line, 1, &match, 0) == 0 ? line + match.rm_so : NULL;
  }
  if ((s->flags & FLAG_CASE) != 0) return strcasestr(line, s->text);
  return memmem(line, length, s->text, strlen(s->text));
}

static int has_room(const struct search *s) { return sizeof s->batch - s->batched >= MATCH_BYTES_MAX; }

static void end_file(struct search *s) {
  close(s->fd);
  s->fd = -1;
  s->have = 0;
}

/* Takes whole lines off the chunk; a line that is longer than a piece is taken in pieces. The chunk ends in a NUL. */
static void search_lines(struct search *s, int at_end) {
  size_t from = 0;
  while (from < s->have && s->left > 0 && has_room(s)) {
    size_t rest = s->have - from, most = rest < PIECE_BYTES ? rest : PIECE_BYTES;
    char *line = s->chunk + from, *newline = memchr(line, '\n', most);
    if (newline == NULL && most == rest && !at_end) break;
    size_t length = newline == NULL ? most : (size_t)(newline - line);
    char kept = line[length];
    line[length] = 0;
    const char *found = find_text(s, line, length);
    if (found != NULL) put_match(s, s->line, (size_t)(found - line) + 1, line, length);
    line[length] = kept;
    from += length + (newline != NULL);
    if (newline != NULL) s->line++;
  }
  memmove(s->chunk, s->chunk + from, s->have - from);
  s->have -= from;
}

/* One chunk of the file. A file that holds a NUL byte is no text. */
static void search_chunk(struct search *s) {
  size_t room = CHUNK_BYTES - s->have;
  size_t most = s->file_left < room ? (size_t)s->file_left : room;
  int at_end = s->file_left == 0;
  ssize_t n = most == 0 ? 0 : read(s->fd, s->chunk + s->have, most);
  if (n < 0 || (n > 0 && memchr(s->chunk + s->have, 0, (size_t)n) != NULL)) return end_file(s);
  s->have += (size_t)n;
  s->file_left -= (uint64_t)n;
  s->chunk[s->have] = 0;
  at_end = at_end || (most > 0 && n == 0);
  search_lines(s, at_end);
  if (at_end && s->have == 0) end_file(s);
}

static void open_file(struct search *s, int folder, const char *name) {
  struct stat info;
  s->fd = open_regular(folder, name, O_RDONLY, &info);
  if (s->fd < 0) return;
  if ((uint64_t)info.st_size > s->file_bytes_max) return end_file(s);
  s->file_left = s->file_bytes_max;
  s->line = 1;
  s->have = 0;
}

/* Goes on to the next name that fits. */
static void search_name(struct search *s) {
  int folder;
  struct stat info;
  const char *name = walk_next(&s->walk, &folder);
  if (name == NULL) return walk_leave(&s->walk);
  if (walk_path(&s->walk, name, s->path) != 0 || fstatat(folder, name, &info, AT_SYMLINK_NOFOLLOW) != 0) return;
  int fits = s->glob[0] == 0 || glob_matches(s->glob, s->path);
  if (fits && s->text[0] == 0) put_match(s, 0, 0, "", 0);
  else if (fits && S_ISREG(info.st_mode)) open_file(s, folder, name);
  if (S_ISDIR(info.st_mode)) walk_enter(&s->walk, name); /* what cannot be entered is not searched */
}

static int is_over_budget(const struct search *s) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  int64_t ms = (now.tv_sec - s->started.tv_sec) * 1000 + (now.tv_nsec - s->started.tv_nsec) / 1000000;
  return ms < 0 || (uint64_t)ms > s->ms_max;
}

static void search_step(struct job *job) {
  struct search *s = job->state;
  int is_late = is_over_budget(s);
  s->batched = 0;
  for (int names = 0; names < STEP_NAMES && s->left > 0 && !is_late && has_room(s) && s->walk.depth > 0; names++) {
    if (s->fd < 0) search_name(s);
    if (s->fd < 0) continue;
    search_chunk(s);
    if (s->fd >= 0) break;
  }
  if (s->batched > 0) job_send(job, REP_MATCHES, s->batch, s->batched);
  int is_done = s->left == 0 || (s->fd < 0 && s->walk.depth == 0);
  if (!is_done && !is_late) return;
  uint32_t id = job->id;
  job_end(job);
  /* ETIME: what was found has been told, and there may be more. */
  if (is_done) send_done(id, NULL);
  else send_failed(id, ETIME);
}

/* The end of a bracket expression, at its ']', or of the text. */
static const char *bracket_end(const char *at) {
  at += at[1] == '^' ? 2 : 1;
  if (*at == ']') at++;
  for (; *at != 0 && *at != ']'; at++) {
    if (*at != '[' || at[1] == 0 || strchr(":.=", at[1]) == NULL) continue;
    char close = at[1];
    for (at += 2; *at != 0 && !(*at == close && at[1] == ']'); at++) continue;
    if (*at == 0) break;
    at++;
  }
  return at;
}

/* Reads a repetition count up to its '}': how many copies the matcher makes of what is repeated, 0 for one without an end. */
static unsigned long copies_of(const char **cursor) {
  unsigned long most = 0;
  const char *at = *cursor + 1;
  for (; *at != 0 && *at != '}'; at++) {
    unsigned long value = 0;
    for (; isdigit((unsigned char)*at) && value <= REPEATS_MAX; at++) value = value * 10 + (unsigned long)(*at - '0');
    if (value > most) most = value;
    if (*at == 0 || *at == '}') break;
  }
  int is_open = at[-1] == ',';
  *cursor = at;
  return *at == 0 ? 0 : most + (unsigned long)is_open > 1 ? most + (unsigned long)is_open : 1;
}

/*
 * What would make the matcher of the C library slow or large is refused: back references, and copies of copies. It makes
 * one more copy of what a plus repeats, so each level of ((a+)+)+ doubles what is below it.
 */
static int is_cheap_regex(const char *text) {
  unsigned long repeats = 1, cost[GROUPS_MAX + 1] = {0}, last = 0;
  int groups = 0, depth = 0;
  for (const char *at = text; *at != 0; at++) {
    unsigned long copies = 1;
    if (*at == '(') {
      if (++groups > GROUPS_MAX || ++depth > GROUPS_MAX) return 0;
      cost[depth] = last = 0;
    } else if (*at == ')' && depth > 0) {
      last = cost[depth--];
      cost[depth] += last;
    } else if (*at == '+') {
      copies = 2;
    } else if (*at == '{') {
      copies = copies_of(&at);
      repeats *= copies;
      if (copies == 0 || repeats > REPEATS_MAX) return 0;
    } else if (strchr("*?|^$", *at) == NULL) {
      if (*at == '[') at = bracket_end(at);
      else if (*at == '\\' && isdigit((unsigned char)*++at)) return 0;
      if (*at == 0) return 0;
      last = 1;
      cost[depth]++;
    }
    cost[depth] += last * (copies - 1);
    last *= copies;
    if (cost[depth] > COST_MAX) return 0;
  }
  return 1;
}

static int set_patterns(struct search *s, const char *other) {
  const char *newline = strchr(other, '\n');
  if (newline == NULL || newline - other > PATTERN_BYTES_MAX || strlen(newline + 1) > PATTERN_BYTES_MAX) return -1;
  memcpy(s->glob, other, (size_t)(newline - other));
  memcpy(s->text, newline + 1, strlen(newline + 1));
  if (strchr(s->text, '\n') != NULL) return -1;
  if ((s->flags & FLAG_REGEX) == 0 || s->text[0] == 0) return 0;
  if (!is_cheap_regex(s->text)) return -1;
  s->compiled = regcomp(&s->regex, s->text, REG_EXTENDED | ((s->flags & FLAG_CASE) != 0 ? REG_ICASE : 0)) == 0;
  return s->compiled ? 0 : -1;
}

/* `other` is a pattern of names, a newline and the text, either of which may be empty; `number` the most matches,
 * `first` the largest file, `second` the most milliseconds. */
void verb_search(const struct request *r) {
  struct job *job = job_start(r->id, sizeof(struct search));
  if (job == NULL) return;
  struct search *s = job->state;
  *s = (struct search){.flags = r->flags, .left = r->number, .file_bytes_max = r->first, .ms_max = r->second, .fd = -1};
  job->close = search_close;
  if (set_patterns(s, r->other) != 0) return job_fail(job, EBADMSG);
  clock_gettime(CLOCK_MONOTONIC, &s->started);
  int folder = resolve(r->path, r->flags | FLAG_FOLLOW, O_RDONLY | O_DIRECTORY);
  if (folder < 0 || walk_start(&s->walk, folder) != 0) return job_fail(job, errno);
  job->step = search_step;
  job->need = BATCH_BYTES;
}
