/* Any bytes as a region's delta: what is taken holds together, also when it is merged. */
#include "aggregator/delta.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(window_values_done) struct window_values merged = { 0 };
	CLEANUP(buf_done) struct buf json = BUF_INIT;
	struct delta_why why = { "" };
	struct delta d;

	if (delta_read(&d, SLICE(data, size), &why) < 0) {
		must(*why.text);
		return 0;
	}
	for (size_t i = 0; i < d.n_windows; i++) {
		must(window_start_ns(d.windows[i].start_ns) == d.windows[i].start_ns);
		must(minute_end_ns(d.windows[i].start_ns) > d.windows[i].start_ns);
		must(window_values_merge(&merged, &d.windows[i].values) == 0);
	}
	window_values_append_json(&json, &merged);
	must(buf_error(&json) == 0);
	delta_done(&d);
	return 0;
}
