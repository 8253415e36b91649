/* What a detector found, in words for people. */
#pragma once

#include "analytics/detector.h"
#include "base/buf.h"

/* "about twice a day", "about once in 3 years": how often a series would score as much by itself. */
void detect_text_rate(struct buf *b, double score);
/* "25 min", "2 d 4 h": the two largest units. */
void detect_text_duration(struct buf *b, int64_t ns);
/* "2014-04-11 09:00:00", with a fraction where there is one. UTC. */
void detect_text_time(struct buf *b, int64_t time_ns);
/* "above", "below", "". */
const char *detect_text_direction(const struct detection *found);
/* The whole sentence, without a line's end: what it is, how far from the band, how often that happens by itself. */
void detect_text_why(struct buf *b, const struct detection *found, double value);
/* The same for a silence. */
void detect_text_why_silent(struct buf *b, int64_t last_ns, int64_t now_ns, double false_alarms_per_week);
