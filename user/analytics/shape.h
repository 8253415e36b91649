/* What a series has looked like of late: where its last values were, and how its level came to where it is.  It tells
 * kinds of anomaly apart; no score depends on it.
 *
 * Values.  A bit each for the last SHAPE_VALUES: above what is usual, below it, a jump.  A spike is few of them, a new
 * level is many on one side, roughness is jumps one after the other.
 *
 * Level.  Means of blocks of SHAPE_BLOCK values, SHAPE_BLOCKS of them and the one that is growing.  A step and a hinge (a
 * constant level, then a ramp) are fitted to them by least squares, at each place where they could begin: the one that
 * leaves less has told how it went.
 *
 * 52 bytes a series; a fit costs some 200 operations, and is asked for while a level is unusual only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define SHAPE_VALUES 32
#define SHAPE_BLOCK 48
#define SHAPE_BLOCKS 8

struct shape {
	uint32_t above, below, jumps; /* the newest value in bit 0 */
	float sum, mean[SHAPE_BLOCKS];
	uint8_t n, blocks; /* values in sum; means, the newest last */
};

/* place: off what is usual, signed; beyond 1 is no longer usual.  jump: off the values just before, by more than is usual.  A zeroed
 * shape has seen nothing. */
void shape_see(struct shape *s, double place, bool jump);

/* 1, -1: where most of the last values were, but for what chance puts elsewhere; 0: here and there, or too few. */
int8_t shape_side(const struct shape *s);
/* Jumps of late; and whether the newest value is one and the value before it is not. */
int shape_jumps(const struct shape *s);
bool shape_jumps_now(const struct shape *s);
/* The level has gone there slowly; a step is not. */
bool shape_is_gradual(const struct shape *s);
