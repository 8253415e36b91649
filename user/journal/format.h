/* What the files of a journal look like: shared by the writer (journal.c), the reader (reader.c) and the scanner
 * (scan.c), private to this folder.  The prose is at the top of journal.c.
 *
 * Threads: nothing here has state of its own.
 */
#pragma once

#include "journal/journal.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "files are little-endian and read in place");

#define FORMAT_VERSION 1
#define SEGMENT_MAGIC "SLUICEJ1"
#define SEGMENT_BYTES_DEFAULT (64ull << 20)
#define SEGMENT_NAME_LEN 32

struct segment_header {
	uint8_t magic[8];
	uint32_t version;
	uint32_t crc32c; /* of everything behind it, the offsets included */
	uint64_t sequence;
	uint32_t partitions;
	uint32_t generation;
	uint8_t uuid[16];
	/* uint64_t next[partitions]: the offsets that the first records of this segment will have */
};
_Static_assert(sizeof(struct segment_header) == 48, "segment header");

struct frame {
	uint32_t magic;
	uint32_t len; /* of headers and value */
	uint32_t crc32c;
	uint16_t partition;
	uint16_t kind;
	uint64_t offset;
	uint32_t headers_len;
	/* headers, value */
} __attribute__((packed));
_Static_assert(sizeof(struct frame) == 28, "frame");
#define FRAME_CHECKED offsetof(struct frame, partition) /* the checksum begins here */

/* A frame of the journal itself: the last of its segment; offset = the sequence number that follows. */
#define PARTITION_CONTROL 0xffff
#define CONTROL_SEAL 1

/* Drawn from the journal's uuid and the segment's number.  The checksum starts from `seed`, so that neither a
 * reading that a stranger chose nor a piece of another segment is ever taken for a frame. */
struct salt {
	uint32_t magic, seed;
};
struct salt salt_of(const struct journal_id *id, uint64_t sequence);

struct position {
	uint64_t segment, at;
};
static inline bool position_before(struct position a, struct position b)
{
	return a.segment != b.segment ? a.segment < b.segment : a.at < b.at;
}

/* ------------------------------------------------------------------ segments */

void segment_name(uint64_t sequence, char ret[static SEGMENT_NAME_LEN]);
/* Where the frames begin: behind both copies of the header. */
uint64_t segment_frames_at(uint32_t partitions);
/* Sequence numbers in ascending order, malloc()ed; -ENOENT when there are none. */
int segment_list(int dir_fd, uint64_t **ret, size_t *ret_n);
/* Writes it beside, fsyncs, renames, fsyncs the directory.  Returns a descriptor open for reading and writing. */
int segment_create(int dir_fd, uint64_t sequence, const struct journal_id *id, uint32_t partitions,
		   const uint64_t *next);
int segment_open(int dir_fd, uint64_t sequence, int flags);

/* The first good copy of a header.  0, -EBADMSG when neither is good, -errno.  ret_next (malloc()ed) may be NULL. */
struct segment_meta {
	struct journal_id id;
	uint32_t partitions;
};
int segment_read_header(int fd, uint64_t sequence, struct segment_meta *ret, uint64_t **ret_next);
/* The same by number; only next, for a journal of which the rest is known. ret_next has room for meta->partitions. */
int segment_read_next(int dir_fd, uint64_t sequence, const struct segment_meta *meta, uint64_t *ret_next);

/* ------------------------------------------------------------------ the durable end */

/* 0, or -EBADMSG when it is torn or empty. */
int end_read(int fd, struct position *ret);
int end_write(int fd, struct position end);

/* Copies damaged bytes to DIR/damaged/SEGMENT-POSITION; twice is once.  Best effort: a full disk or a reader
 * without the right to write changes nothing for the records that are good. */
#define DAMAGED_FILES_MAX 256
void damaged_keep(int dir_fd, int fd, uint64_t sequence, uint64_t from, uint64_t to);

/* ------------------------------------------------------------------ scanning one segment */

struct scan {
	int fd; /* not owned */
	struct salt salt;
	uint32_t partitions;
	uint64_t at, limit; /* next byte to look at; no byte at or beyond limit is ever read */
	uint64_t damage_from;
	uint8_t *buf; /* bytes [base, base + have) of the file */
	size_t cap, have;
	uint64_t base;
};

enum scan_result {
	SCAN_END,
	SCAN_RECORD,
	SCAN_DAMAGE, /* [damage_from, at) is not a frame; at == limit when no good frame follows */
};

/* A zeroed struct is ready for scan_begin(); it may be begun anew at any time and keeps its memory. */
void scan_begin(struct scan *s, int fd, struct salt salt, uint32_t partitions, uint64_t at, uint64_t limit);
void scan_done(struct scan *s);
/* enum scan_result or negative errno.  Slices are valid until the next call. */
int scan_next(struct scan *s, struct journal_record *ret);
