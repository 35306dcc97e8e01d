/* Shows how lane.c reads and writes frames, for the tests that hold lane.ts to the same bytes.
 *
 * `decode` reads frames from stdin and prints one line each:   frame TYPE STREAM EXEC PAYLOAD
 * and after a SPAWN:                                           spawn FLAGS WINDOW CAP CAP COLS ROWS CWD ARGC ARG… ENVC ENV…
 * after a RESIZE `size COLS ROWS`, after a DIAL `dial WINDOW PORT`,
 * or `invalid`, which ends it. `encode` reads such frame lines and writes the frames. Bytes are in hex, `-` for none.
 */
#include "../lane.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint8_t payload[LANE_PAYLOAD_MAX];

static void print_hex(const uint8_t *bytes, size_t length) {
  putchar(' ');
  if (length == 0) putchar('-');
  for (size_t i = 0; i < length; i++) printf("%02x", bytes[i]);
}

static void print_string(const char *string) { print_hex((const uint8_t *)string, strlen(string)); }

static void print_strings(char *const *strings) {
  size_t count = 0;
  while (strings[count] != NULL) count++;
  printf(" %zu", count);
  for (size_t i = 0; i < count; i++) print_string(strings[i]);
}

static int invalid(void) {
  puts("invalid");
  return 0;
}

static int print_spawn(size_t length) {
  static struct lane_spawn spawn;
  if (lane_parse_spawn(payload, length, &spawn) != 0) return -1;
  printf("spawn %" PRIu32 " %" PRIu32 " %" PRIu64 " %" PRIu64 " %u %u", spawn.flags, spawn.window, spawn.cap[0], spawn.cap[1], spawn.size.cols, spawn.size.rows);
  print_string(spawn.cwd);
  print_strings(spawn.argv);
  print_strings(spawn.envp);
  putchar('\n');
  return 0;
}

static int print_size(size_t length) {
  struct lane_size size;
  if (lane_parse_size(payload, length, &size) != 0) return -1;
  printf("size %u %u\n", size.cols, size.rows);
  return 0;
}

static int print_dial(size_t length) {
  struct lane_dial dial;
  if (lane_parse_dial(payload, length, &dial) != 0) return -1;
  printf("dial %" PRIu32 " %u\n", dial.window, dial.port);
  return 0;
}

static int print_payload(uint8_t type, size_t length) {
  switch (type) {
    case LANE_SPAWN: return print_spawn(length);
    case LANE_RESIZE: return print_size(length);
    case LANE_DIAL: return print_dial(length);
    default: return 0;
  }
}

static int decode(void) {
  uint8_t header[LANE_HEADER_BYTES];
  struct lane_header h;
  while (fread(header, 1, sizeof header, stdin) == sizeof header) {
    if (lane_parse_header(header, &h) != 0) return invalid();
    if (fread(payload, 1, h.length, stdin) != h.length) return 1;
    printf("frame %u %u %" PRIu32, h.type, h.stream, h.exec);
    print_hex(payload, h.length);
    putchar('\n');
    if (print_payload(h.type, h.length) != 0) return invalid();
  }
  return 0;
}

static int encode(void) {
  static char hex[2 * LANE_PAYLOAD_MAX + 2];
  unsigned type, stream;
  uint32_t exec;
  while (scanf("frame %u %u %" SCNu32 " %524289s\n", &type, &stream, &exec, hex) == 4) {
    size_t length = strcmp(hex, "-") == 0 ? 0 : strlen(hex) / 2;
    for (size_t i = 0; i < length; i++) {
      char pair[3] = {hex[2 * i], hex[2 * i + 1], 0};
      payload[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
    uint8_t header[LANE_HEADER_BYTES];
    lane_put_header(header, (struct lane_header){(uint32_t)length, (uint8_t)type, (uint8_t)stream, exec});
    fwrite(header, 1, sizeof header, stdout);
    fwrite(payload, 1, length, stdout);
  }
  return feof(stdin) ? 0 : 1;
}

int main(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], "decode") == 0) return decode();
  if (argc == 2 && strcmp(argv[1], "encode") == 0) return encode();
  return 2;
}
