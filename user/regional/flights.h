/* The flights of a region: a fixed number, taken for a decision, given back with its fold.
 *
 * Threads: none; one owner.
 */
#pragma once

#include "regional/region.h"

/* 0 or -ENOMEM. */
int flights_init(struct region *r);
void flights_done(struct region *r);
/* NULL when all are in the air. */
struct flight *flight_new(struct region *r, struct shard *s, uint16_t kind);
void flight_free(struct region *r, struct flight *f);
/* It was appended, as the last of its shard. */
void flight_took_off(struct region *r, struct flight *f, size_t bytes);
/* It is confirmed, the first of its shard. */
void flight_landed(struct region *r, struct flight *f);
/* Gives back all of them. */
void flights_forget(struct region *r);
