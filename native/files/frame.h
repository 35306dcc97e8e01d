/* Wire format between control and the files helper, on one Unix stream socket.
 *
 * Every frame is a 12-byte little-endian header and a payload:
 *   u32 length   payload bytes, at most FRAME_PAYLOAD_MAX
 *   u8  type     one of REQ_* or REP_*
 *   u8  zero     must be 0
 *   u16 zero     must be 0
 *   u32 id       of the request, chosen by control, never 0
 *
 * A request (REQ_STAT … REQ_SEARCH) has the payload
 *   u32 flags, u32 number, u64 first, u64 second, path, NUL, other, NUL
 * and is answered by exactly one REP_DONE or REP_FAILED, after any number of other replies. A reply that is counted
 * (REP_DATA, REP_ENTRIES, REP_EVENTS, REP_MATCHES) is sent only within the credit of its request.
 *
 * core/files/src/frames.ts is the other end; test/files holds both to the same bytes.
 */
#ifndef CAISSON_FILES_FRAME_H
#define CAISSON_FILES_FRAME_H

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

enum {
  FRAME_HEADER_BYTES = 12,
  FRAME_PAYLOAD_MAX = 256 * 1024,
  PATH_BYTES_MAX = 4096,
  NAME_BYTES_MAX = 255,
  REQUEST_FIXED_BYTES = 24,
  RECORD_FIXED_BYTES = 52,
  RECORD_BYTES_MAX = RECORD_FIXED_BYTES + 2 * PATH_BYTES_MAX,
  VERSION_BYTES = 32,
  CREDIT_START = 1024 * 1024,
};

/* control -> helper */
enum {
  REQ_STAT = 1, REQ_LIST, REQ_READ, REQ_WRITE, REQ_MKDIR, REQ_MOVE, REQ_REMOVE, REQ_CHMOD,
  REQ_SYMLINK, REQ_LINK, REQ_TRUNCATE, REQ_WATCH, REQ_SEARCH, /* the last that has a request payload */
  REQ_DATA = 24,   /* bytes of a write */
  REQ_COMMIT = 25, /* of a write: empty, or the version that the target must have */
  REQ_CREDIT = 26, /* u32 bytes */
  REQ_CANCEL = 27, /* empty */
};

/* helper -> control */
enum {
  REP_HELLO = 32,   /* id 0: u32 protocol, u32 uid, u32 gid */
  REP_INFO = 33,    /* one record */
  REP_ENTRIES = 34, /* records */
  REP_DATA = 35,
  REP_ACK = 36,     /* u32 bytes of a write that were taken */
  REP_EVENTS = 37,
  REP_MATCHES = 38,
  REP_DONE = 39,    /* empty, or one record */
  REP_FAILED = 40,  /* u32 errno, u32 what: 1 where it is about `other`, else 0; for id 0 the step of confinement */
};

enum { PROTOCOL = 1 };

/* Flags of requests. */
enum {
  FLAG_FOLLOW = 1,      /* STAT, READ, LIST: follow a link in the last component */
  FLAG_NO_LINKS = 2,    /* no component may be a link */
  FLAG_PARENTS = 4,     /* WRITE, MKDIR: make the folders above */
  FLAG_EXCLUSIVE = 8,   /* WRITE, MOVE: fail when the target exists */
  FLAG_APPEND = 16,     /* WRITE: to the end of the file, in place */
  FLAG_RECURSIVE = 32,  /* LIST, REMOVE, WATCH */
  FLAG_NO_SYNC = 64,    /* WRITE: do not wait for the disk */
  FLAG_REGEX = 128,     /* SEARCH: other is an extended regular expression */
  FLAG_MTIME = 256,     /* WRITE: second is the modification time in nanoseconds */
  FLAG_CASE = 512,      /* SEARCH: letters match in either case */
  FLAGS_ALL = 1023,
};

enum { NO_MODE = 0xffffffffU };

struct frame_header {
  uint32_t length;
  uint8_t type;
  uint32_t id;
};

/* A request, pointing into the payload it was parsed from. */
struct request {
  uint8_t type;
  uint32_t id;
  uint32_t flags;
  uint32_t number;
  uint64_t first, second;
  const char *path;  /* "/workspace", or "/workspace/" and components that are neither empty nor . nor .. */
  const char *other; /* a second path for MOVE and LINK (the same rule), free for others */
};

/* Both return 0, or -1 when the bytes are not valid. They read no byte outside the given range and keep no pointer to
 * it other than those in `out`. */
int frame_parse_header(const uint8_t bytes[FRAME_HEADER_BYTES], struct frame_header *out);
int frame_parse_request(uint8_t type, const uint8_t *payload, size_t length, struct request *out);

void frame_put_header(uint8_t bytes[FRAME_HEADER_BYTES], struct frame_header header);
uint32_t get32(const uint8_t *bytes);
uint64_t get64(const uint8_t *bytes);
void put32(uint8_t *bytes, uint32_t value);
void put64(uint8_t *bytes, uint64_t value);

/* Writes a record of at most RECORD_BYTES_MAX bytes and returns its length:
 *   u32 length, u32 mode, u64 size, u64 mtime ns, u64 ctime ns, u64 inode, u32 unused, u32 path bytes, u32 target bytes
 * and the bytes of path and target. */
size_t put_record(uint8_t *bytes, const struct stat *info, const char *path, const char *target);
/* The 32 bytes by which a file is recognised as unchanged: size, mtime, ctime, inode. */
void put_version(uint8_t bytes[VERSION_BYTES], const struct stat *info);

#endif
