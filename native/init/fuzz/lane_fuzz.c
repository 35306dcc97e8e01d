/* Fuzz target of the parsers that read bytes from outside: lane_parse_header, _spawn, _size and _dial.
 *
 * With libFuzzer: clang -DLIBFUZZER -fsanitize=fuzzer,address,undefined lane_fuzz.c ../lane.c
 * Without:        gcc -fsanitize=address,undefined lane_fuzz.c ../lane.c; ./a.out ROUNDS SEED
 */
#include "../lane.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(int holds, const char *what) {
  if (holds) return;
  fprintf(stderr, "violated: %s\n", what);
  abort();
}

static int within(const char *string, const uint8_t *payload, size_t length) {
  const uint8_t *start = (const uint8_t *)string;
  return start >= payload && start < payload + length && memchr(start, 0, (size_t)(payload + length - start)) != NULL;
}

static void check_header(const uint8_t *bytes) {
  struct lane_header header;
  uint8_t again[LANE_HEADER_BYTES];
  if (lane_parse_header(bytes, &header) != 0) return;
  expect(header.length <= LANE_PAYLOAD_MAX, "a payload is bounded");
  lane_put_header(again, header);
  expect(memcmp(again, bytes, sizeof again) == 0, "what was parsed is written the same");
}

static void check_strings(char *const *strings, size_t count, const uint8_t *payload, size_t length) {
  expect(count <= LANE_ARGS_MAX, "a list of strings is bounded");
  for (size_t i = 0; i < count; i++) expect(within(strings[i], payload, length), "a string lies within the payload");
  expect(strings[count] == NULL, "a list of strings ends with NULL");
}

/* Returns whether the bytes were a SPAWN. */
static int check_spawn(const uint8_t *bytes, size_t length) {
  static struct lane_spawn spawn;
  uint8_t *payload = malloc(length); /* of the exact size, so that a read beyond it is caught */
  if (payload == NULL && length > 0) abort();
  if (length > 0) memcpy(payload, bytes, length);
  int valid = lane_parse_spawn(payload, length, &spawn) == 0;
  if (valid) {
    size_t argc = lane_get32(payload + 24);
    expect(argc > 0, "there is a program");
    expect(within(spawn.cwd, payload, length) && spawn.cwd[0] == '/', "the working directory is absolute");
    expect((spawn.flags & ~(uint32_t)(SPAWN_STDIN | SPAWN_TTY)) == 0, "no flag is unknown");
    int has_size = spawn.size.cols > 0 && spawn.size.rows > 0;
    expect(has_size == ((spawn.flags & SPAWN_TTY) != 0), "exactly a terminal has a size");
    check_strings(spawn.argv, argc, payload, length);
    check_strings(spawn.envp, lane_get32(payload + 28), payload, length);
    expect(payload[length - 1] == 0, "nothing follows the last string");
  }
  free(payload);
  return valid;
}

static void check_small(const uint8_t *bytes, size_t length) {
  struct lane_size size;
  struct lane_dial dial;
  uint8_t *payload = calloc(length, 1);
  if (payload == NULL && length > 0) abort();
  if (length > 0) memcpy(payload, bytes, length);
  if (lane_parse_size(payload, length, &size) == 0)
    expect(length == 4 && lane_get32(payload) == ((uint32_t)size.rows << 16 | size.cols) && size.cols > 0 && size.rows > 0, "a size is what was sent");
  if (lane_parse_dial(payload, length, &dial) == 0)
    expect(length == 8 && lane_get32(payload) == dial.window && lane_get32(payload + 4) == dial.port && dial.port > 0, "a port is what was sent");
  free(payload);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size >= LANE_HEADER_BYTES) check_header(data);
  check_spawn(data, size);
  check_small(data, size);
  return 0;
}

#ifndef LIBFUZZER
/* xorshift64*: the same seed gives the same inputs on every machine. */
static uint64_t state;

static uint32_t random_below(uint32_t bound) {
  state ^= state >> 12;
  state ^= state << 25;
  state ^= state >> 27;
  return (uint32_t)((state * 0x2545f4914f6cdd1dULL) >> 33) % bound;
}

static size_t random_bytes(uint8_t *into, size_t most) {
  size_t length = random_below((uint32_t)most + 1);
  for (size_t i = 0; i < length; i++) into[i] = (uint8_t)random_below(256);
  return length;
}

/* A well-formed SPAWN of a few short strings. */
static size_t random_spawn(uint8_t *into) {
  uint32_t argc = 1 + random_below(4), envc = random_below(4);
  memset(into, 0, 32);
  uint32_t flags = random_below(4);
  lane_put32(into, flags);
  lane_put32(into + 4, random_below(1 << 20));
  lane_put64(into + 8, random_below(1 << 30));
  lane_put64(into + 16, random_below(1 << 30));
  lane_put32(into + 24, argc);
  lane_put32(into + 28, envc);
  size_t at = 32;
  if ((flags & SPAWN_TTY) != 0) {
    lane_put32(into + at, (1 + random_below(UINT16_MAX)) << 16 | (1 + random_below(UINT16_MAX)));
    at += 4;
  }
  into[at++] = '/';
  for (uint32_t string = 0; string <= argc + envc; string++) {
    for (uint32_t n = random_below(6); n > 0; n--) into[at++] = (uint8_t)(1 + random_below(255));
    into[at++] = 0;
  }
  return at;
}

static size_t mutate(uint8_t *bytes, size_t length, size_t most) {
  switch (random_below(6)) {
    case 0: return length; /* as it is */
    case 1: return random_below((uint32_t)length + 1); /* cut */
    case 2: bytes[random_below((uint32_t)length)] ^= (uint8_t)(1 << random_below(8)); return length;
    case 3: lane_put32(bytes + 24 + 4 * random_below(2), random_below(3) ? random_below(8) : 0xffffffffU - random_below(8192)); return length;
    case 4: bytes[random_below((uint32_t)length)] = 0; return length;
    default: return length < most ? (bytes[length] = (uint8_t)random_below(256), length + 1) : length;
  }
}

static void check_bounds(void) {
  static uint8_t payload[32 + 2 + LANE_ARGS_MAX + 2];
  for (uint32_t argc = LANE_ARGS_MAX - 1; argc <= LANE_ARGS_MAX + 1; argc++) {
    memset(payload, 0, sizeof payload);
    lane_put32(payload + 24, argc);
    payload[32] = '/';
    expect(check_spawn(payload, 34 + argc) == (argc <= LANE_ARGS_MAX), "exactly LANE_ARGS_MAX arguments are taken");
  }
}

int main(int argc, char **argv) {
  unsigned long rounds = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000000, valid = 0;
  state = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
  if (state == 0) state = 1;
  check_bounds();
  for (unsigned long round = 0; round < rounds; round++) {
    uint8_t bytes[128];
    size_t length = random_below(4) == 0 ? random_bytes(bytes, sizeof bytes) : mutate(bytes, random_spawn(bytes), sizeof bytes);
    if (length >= LANE_HEADER_BYTES) {
      if (random_below(2)) bytes[6] = bytes[7] = bytes[3] = 0; /* else no header of random bytes is ever valid */
      check_header(bytes);
    }
    valid += (unsigned long)check_spawn(bytes, length);
    lane_put32(bytes + 4, random_below(2 * UINT16_MAX));
    check_small(bytes, 4 * random_below(4));
  }
  printf("%lu inputs, %lu of them valid\n", rounds, valid);
  return 0;
}
#endif
