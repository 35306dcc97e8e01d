/* Fuzz target of what reads bytes from outside: frame_parse_header, frame_parse_request, and glob_matches on names that
 * the agent chose.
 *
 * gcc -fsanitize=address,undefined frame_fuzz.c ../frame.c ../glob.c; ./a.out ROUNDS SEED
 */
#include "../frame.h"
#include "../glob.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t state;

static uint32_t below(uint32_t bound) {
  state ^= state >> 12;
  state ^= state << 25;
  state ^= state >> 27;
  return (uint32_t)((state * 0x2545f4914f6cdd1dULL) >> 33) % bound;
}

static void expect(int holds, const char *what) {
  if (holds) return;
  fprintf(stderr, "violated: %s\n", what);
  abort();
}

static int within(const char *string, const uint8_t *payload, size_t length) {
  const uint8_t *start = (const uint8_t *)string;
  return start >= payload && start < payload + length && memchr(start, 0, (size_t)(payload + length - start)) != NULL;
}

static void check_path(const char *path) {
  expect(strcmp(path, "/workspace") == 0 || strncmp(path, "/workspace/", 11) == 0, "a path is below the workspace");
  expect(strlen(path) <= PATH_BYTES_MAX, "a path is bounded");
  expect(strstr(path, "/../") == NULL && strstr(path, "//") == NULL && strstr(path, "/./") == NULL, "a path has no . and ..");
  const char *last = strrchr(path, '/');
  expect(strcmp(last, "/..") != 0 && strcmp(last, "/.") != 0 && last[1] != 0, "a path ends in a name");
}

static int check_request(uint8_t type, const uint8_t *bytes, size_t length) {
  uint8_t *payload = malloc(length == 0 ? 1 : length); /* of the exact size, so that a read beyond it is caught */
  if (payload == NULL) abort();
  memcpy(payload, bytes, length);
  struct request r;
  int valid = frame_parse_request(type, payload, length, &r) == 0;
  if (valid) {
    expect(within(r.path, payload, length) && within(r.other, payload, length), "strings lie within the payload");
    check_path(r.path);
    if (type == REQ_MOVE || type == REQ_LINK) check_path(r.other);
    expect((r.flags & ~(uint32_t)FLAGS_ALL) == 0, "no flag is unknown");
    expect(payload[length - 1] == 0, "nothing follows the last string");
  }
  free(payload);
  return valid;
}

static size_t random_request(uint8_t *into) {
  static const char *const pieces[] = {"/workspace", "/workspace/a", "/a", "/..", "/.", "//", "/a..", "/.a", "x", "/workspace/workspace"};
  memset(into, 0, REQUEST_FIXED_BYTES);
  put32(into, below(4) == 0 ? below(1 << 12) : below(1024));
  size_t at = REQUEST_FIXED_BYTES;
  for (int string = 0; string < 2; string++) {
    at += (size_t)sprintf((char *)into + at, "%s", below(8) == 0 ? "" : "/workspace");
    for (uint32_t n = below(4); n > 0; n--) at += (size_t)sprintf((char *)into + at, "%s", pieces[below(10)]);
    into[at++] = 0;
  }
  return at;
}

/* What a pattern means, said slowly: tried against glob_matches for short names. */
static int slow(const char *pattern, const char *name) {
  if (*pattern == 0) return *name == 0;
  if (*pattern == '*') return slow(pattern + 1, name) || (*name != 0 && slow(pattern, name + 1));
  return *name != 0 && (*pattern == '?' || *pattern == *name) && slow(pattern + 1, name + 1);
}

static void random_text(char *into, const char *letters, uint32_t most) {
  uint32_t length = below(most + 1), count = (uint32_t)strlen(letters);
  for (uint32_t i = 0; i < length; i++) into[i] = letters[below(count)];
  into[length] = 0;
}

static void check_glob(void) {
  char pattern[24], name[24];
  random_text(pattern, "ab*?", 8);
  random_text(name, "ab", 10);
  expect(glob_matches(pattern, name) == slow(pattern, name), "a pattern means what it says");
  random_text(pattern, "ab*?[]!-\\/", 20);
  random_text(name, "ab[]-/\\", 20);
  glob_matches(pattern, name);
}

int main(int argc, char **argv) {
  unsigned long rounds = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000000, valid = 0;
  state = argc > 2 ? strtoull(argv[2], NULL, 10) | 1 : 1;
  for (unsigned long round = 0; round < rounds; round++) {
    uint8_t bytes[512];
    size_t length = random_request(bytes);
    if (below(3) == 0) bytes[below((uint32_t)length)] = (uint8_t)below(256);
    if (below(8) == 0) length = below((uint32_t)length + 1);
    valid += (unsigned long)check_request((uint8_t)below(16), bytes, length);
    struct frame_header header;
    uint8_t head[FRAME_HEADER_BYTES], again[FRAME_HEADER_BYTES];
    for (int i = 0; i < FRAME_HEADER_BYTES; i++) head[i] = below(3) ? 0 : (uint8_t)below(256);
    if (frame_parse_header(head, &header) == 0) {
      expect(header.length <= FRAME_PAYLOAD_MAX && header.id != 0, "a header is bounded and names a request");
      frame_put_header(again, header);
      expect(memcmp(again, head, sizeof again) == 0, "what was parsed is written the same");
    }
    check_glob();
  }
  printf("%lu inputs, %lu of them valid\n", rounds, valid);
  return 0;
}
