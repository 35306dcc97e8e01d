/* Wire format shared by the two lanes between a sandbox's pid 1 and the launcher.
 *
 * Every frame is a 12-byte little-endian header and a payload:
 *   u32 length   payload bytes, at most LANE_PAYLOAD_MAX
 *   u8  type     one of LANE_*
 *   u8  stream   1 stdout, 2 stderr, 0 otherwise
 *   u16 zero     must be 0
 *   u32 exec     identifier chosen by the launcher, never 0 for an exec
 *
 * core/runtime/src/lane.ts is the other end; test/lane holds both to the same vectors.
 */
#ifndef CAISSON_LANE_H
#define CAISSON_LANE_H

#include <stddef.h>
#include <stdint.h>

enum {
  LANE_HEADER_BYTES = 12,
  LANE_PAYLOAD_MAX = 256 * 1024,
  LANE_STDIN_WINDOW = 64 * 1024,
  LANE_FRAME_COST = 256, /* what a frame of output takes of its window at least: it costs the reader more than its bytes */
  LANE_EXECS_MAX = 256,
  LANE_ARGS_MAX = 4096,
};

/* launcher -> init, control lane */
enum { LANE_SPAWN = 1, LANE_SIGNAL = 2, LANE_CREDIT = 3, LANE_RESIZE = 5, LANE_KILL = 6, LANE_DIAL = 7, LANE_RESUME = 9 };
/* launcher -> init, both lanes: the last frame before RESUME */
enum { LANE_QUIESCE = 8 };
/* launcher -> init, data lane; an empty payload closes stdin */
enum { LANE_STDIN = 4 };
/* init -> launcher, control lane; STARTED says that a connection is there */
enum { LANE_HELLO = 16, LANE_STARTED = 17, LANE_FAILED = 18, LANE_STDIN_CREDIT = 19 };
/* init -> launcher, both lanes: the last frame before RESUME */
enum { LANE_QUIET = 20 };
/* init -> launcher, data lane; EXIT follows the last OUTPUT of its exec, OUTPUT_END that of a connection's peer */
enum { LANE_OUTPUT = 32, LANE_EXIT = 33, LANE_OUTPUT_END = 34 };

/* With SPAWN_TTY a terminal size follows the fixed part: u16 columns, u16 rows, as in RESIZE. */
enum { SPAWN_STDIN = 1, SPAWN_TTY = 2 };
/* Flag of RESUME: the sandbox was started from saved memory, and HELLO is wanted again. */
enum { RESUME_RESTORED = 1 };

struct lane_header {
  uint32_t length;
  uint8_t type;
  uint8_t stream;
  uint32_t exec;
};

struct lane_size {
  uint16_t cols, rows; /* never 0 */
};

struct lane_dial {
  uint32_t window;
  uint16_t port; /* never 0 */
};

/* A SPAWN payload, pointing into the payload it was parsed from. */
struct lane_spawn {
  uint32_t flags;
  uint32_t window;
  uint64_t cap[2];
  struct lane_size size; /* with SPAWN_TTY */
  const char *cwd;
  char *argv[LANE_ARGS_MAX + 1];
  char *envp[LANE_ARGS_MAX + 1];
};

/* All return 0, or -1 when the bytes are not a valid frame. They read no byte outside the
 * given range and keep no pointer to it other than those in `out`. */
int lane_parse_header(const uint8_t bytes[LANE_HEADER_BYTES], struct lane_header *out);
int lane_parse_spawn(uint8_t *payload, size_t length, struct lane_spawn *out);
int lane_parse_size(const uint8_t *payload, size_t length, struct lane_size *out);
int lane_parse_dial(const uint8_t *payload, size_t length, struct lane_dial *out);

void lane_put_header(uint8_t bytes[LANE_HEADER_BYTES], struct lane_header header);
uint32_t lane_get32(const uint8_t *bytes);
uint64_t lane_get64(const uint8_t *bytes);
void lane_put32(uint8_t *bytes, uint32_t value);
void lane_put64(uint8_t *bytes, uint64_t value);

#endif
