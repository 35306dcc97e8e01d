#include "frame.h"

#include <string.h>

uint32_t get32(const uint8_t *b) {
  return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

uint64_t get64(const uint8_t *b) { return (uint64_t)get32(b) | (uint64_t)get32(b + 4) << 32; }

void put32(uint8_t *b, uint32_t v) {
  for (int i = 0; i < 4; i++) b[i] = (uint8_t)(v >> (8 * i));
}

void put64(uint8_t *b, uint64_t v) {
  put32(b, (uint32_t)v);
  put32(b + 4, (uint32_t)(v >> 32));
}

int frame_parse_header(const uint8_t b[FRAME_HEADER_BYTES], struct frame_header *out) {
  out->length = get32(b);
  out->type = b[4];
  out->id = get32(b + 8);
  if (out->length > FRAME_PAYLOAD_MAX) return -1;
  return b[5] != 0 || b[6] != 0 || b[7] != 0 || out->id == 0 ? -1 : 0;
}

void frame_put_header(uint8_t b[FRAME_HEADER_BYTES], struct frame_header h) {
  put32(b, h.length);
  b[4] = h.type;
  b[5] = b[6] = b[7] = 0;
  put32(b + 8, h.id);
}

/* Takes the next NUL-terminated string, or NULL when no terminator is left in range. */
static const char *next_string(const uint8_t **cursor, const uint8_t *end) {
  const uint8_t *start = *cursor;
  const uint8_t *nul = start < end ? memchr(start, 0, (size_t)(end - start)) : NULL;
  if (nul == NULL || nul - start > PATH_BYTES_MAX) return NULL;
  *cursor = nul + 1;
  return (const char *)start;
}

static int valid_path(const char *path) {
  static const char root[] = "/workspace";
  if (strncmp(path, root, sizeof root - 1) != 0) return 0;
  const char *at = path + sizeof root - 1;
  while (*at != 0) {
    if (*at++ != '/') return 0;
    size_t length = strcspn(at, "/");
    if (length == 0 || length > NAME_BYTES_MAX) return 0;
    if (at[0] == '.' && (length == 1 || (length == 2 && at[1] == '.'))) return 0;
    at += length;
  }
  return 1;
}

int frame_parse_request(uint8_t type, const uint8_t *payload, size_t length, struct request *out) {
  if (type < REQ_STAT || type > REQ_SEARCH || length < REQUEST_FIXED_BYTES) return -1;
  out->type = type;
  out->flags = get32(payload);
  out->number = get32(payload + 4);
  out->first = get64(payload + 8);
  out->second = get64(payload + 16);
  const uint8_t *cursor = payload + REQUEST_FIXED_BYTES;
  const uint8_t *end = payload + length;
  out->path = next_string(&cursor, end);
  if (out->path == NULL || !valid_path(out->path)) return -1;
  out->other = next_string(&cursor, end);
  if (out->other == NULL || cursor != end) return -1;
  if ((type == REQ_MOVE || type == REQ_LINK) && !valid_path(out->other)) return -1;
  return (out->flags & ~(uint32_t)FLAGS_ALL) != 0 ? -1 : 0;
}

static uint64_t nanoseconds(struct timespec t) { return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec; }

void put_version(uint8_t b[VERSION_BYTES], const struct stat *info) {
  put64(b, (uint64_t)info->st_size);
  put64(b + 8, nanoseconds(info->st_mtim));
  put64(b + 16, nanoseconds(info->st_ctim));
  put64(b + 24, info->st_ino);
}

size_t put_record(uint8_t *b, const struct stat *info, const char *path, const char *target) {
  size_t path_length = strnlen(path, PATH_BYTES_MAX), target_length = strnlen(target, PATH_BYTES_MAX);
  size_t whole = RECORD_FIXED_BYTES + path_length + target_length;
  put32(b, (uint32_t)whole);
  put32(b + 4, info->st_mode);
  put_version(b + 8, info);
  put32(b + 40, 0);
  put32(b + 44, (uint32_t)path_length);
  put32(b + 48, (uint32_t)target_length);
  memcpy(b + RECORD_FIXED_BYTES, path, path_length);
  memcpy(b + RECORD_FIXED_BYTES + path_length, target, target_length);
  return whole;
}
