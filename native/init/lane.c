#include "lane.h"

#include <string.h>

uint32_t lane_get32(const uint8_t *b) {
  return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

uint64_t lane_get64(const uint8_t *b) {
  return (uint64_t)lane_get32(b) | (uint64_t)lane_get32(b + 4) << 32;
}

void lane_put32(uint8_t *b, uint32_t v) {
  for (int i = 0; i < 4; i++) b[i] = (uint8_t)(v >> (8 * i));
}

void lane_put64(uint8_t *b, uint64_t v) {
  lane_put32(b, (uint32_t)v);
  lane_put32(b + 4, (uint32_t)(v >> 32));
}

int lane_parse_header(const uint8_t b[LANE_HEADER_BYTES], struct lane_header *out) {
  out->length = lane_get32(b);
  out->type = b[4];
  out->stream = b[5];
  out->exec = lane_get32(b + 8);
  if (out->length > LANE_PAYLOAD_MAX) return -1;
  if (b[6] != 0 || b[7] != 0) return -1;
  return 0;
}

void lane_put_header(uint8_t b[LANE_HEADER_BYTES], struct lane_header h) {
  lane_put32(b, h.length);
  b[4] = h.type;
  b[5] = h.stream;
  b[6] = b[7] = 0;
  lane_put32(b + 8, h.exec);
}

/* Takes the next NUL-terminated string, or NULL when no terminator is left in range. */
static char *next_string(uint8_t **cursor, const uint8_t *end) {
  uint8_t *start = *cursor;
  uint8_t *nul = start < end ? memchr(start, 0, (size_t)(end - start)) : NULL;
  if (nul == NULL) return NULL;
  *cursor = nul + 1;
  return (char *)start;
}

static int take_strings(uint8_t **cursor, const uint8_t *end, char **into, size_t count) {
  if (count > LANE_ARGS_MAX) return -1;
  for (size_t i = 0; i < count; i++) {
    into[i] = next_string(cursor, end);
    if (into[i] == NULL) return -1;
  }
  into[count] = NULL;
  return 0;
}

int lane_parse_spawn(uint8_t *payload, size_t length, struct lane_spawn *out) {
  const size_t fixed = 4 + 4 + 8 + 8 + 4 + 4;
  if (length < fixed) return -1;
  out->flags = lane_get32(payload);
  out->window = lane_get32(payload + 4);
  out->cap[0] = lane_get64(payload + 8);
  out->cap[1] = lane_get64(payload + 16);
  size_t argc = lane_get32(payload + 24);
  size_t envc = lane_get32(payload + 28);
  uint8_t *cursor = payload + fixed;
  const uint8_t *end = payload + length;
  if ((out->flags & ~(uint32_t)(SPAWN_STDIN | SPAWN_TTY)) != 0 || argc == 0) return -1;
  out->size = (struct lane_size){0, 0};
  if ((out->flags & SPAWN_TTY) != 0) {
    if (length - fixed < 4 || lane_parse_size(cursor, 4, &out->size) != 0) return -1;
    cursor += 4;
  }
  out->cwd = next_string(&cursor, end);
  if (out->cwd == NULL || out->cwd[0] != '/') return -1;
  if (take_strings(&cursor, end, out->argv, argc) != 0) return -1;
  if (take_strings(&cursor, end, out->envp, envc) != 0) return -1;
  return cursor == end ? 0 : -1;
}

int lane_parse_size(const uint8_t *payload, size_t length, struct lane_size *out) {
  if (length != 4) return -1;
  uint32_t both = lane_get32(payload);
  out->cols = (uint16_t)both;
  out->rows = (uint16_t)(both >> 16);
  return out->cols != 0 && out->rows != 0 ? 0 : -1;
}

int lane_parse_dial(const uint8_t *payload, size_t length, struct lane_dial *out) {
  if (length != 8) return -1;
  uint32_t port = lane_get32(payload + 4);
  if (port == 0 || port > UINT16_MAX) return -1;
  out->window = lane_get32(payload);
  out->port = (uint16_t)port;
  return 0;
}
