/* Anomalies on purpose: what is asked for, what becomes of the readings, and what is said to be the truth. */
#include "ctl/inject.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "codec/telemetry.h"
#include "ctl/readings.h"
#include "tests/unit/harness.h"

#define START_NS 1700000000000000000LL

static struct injection parsed(const char *text)
{
	char error[INJECT_ERROR] = "";
	struct injection in;

	if (injection_parse(&in, text, error) < 0) {
		printf("  %s\n", error);
		CU_FAIL_FATAL("injection");
	}
	return in;
}

static void what_is_asked_for_is_understood(void)
{
	struct injection in = parsed("spike:temperature@60+3x35");

	CU_ASSERT(in.kind == DETECTOR_SPIKE && in.start_s == 60 && in.length_s == 3 && in.size == 35 && in.devices == 1);
	CU_ASSERT(!strcmp(in.metric, "temperature") && !in.device[0]);
	in = parsed("level-shift:a.b:c@0.5+0x-2.25,device=d,1"); /* a metric and an id may have what separates elsewhere */
	CU_ASSERT(in.kind == DETECTOR_LEVEL_SHIFT && in.start_s == 0.5 && in.length_s == 0 && in.size == -2.25);
	CU_ASSERT(!strcmp(in.metric, "a.b:c") && !strcmp(in.device, "d,1"));
	in = parsed("silence@1+2,devices=20");
	CU_ASSERT(in.kind == DETECTOR_SILENCE && in.devices == 20 && !in.metric[0] && isnan(in.size));
	in = parsed("flatline:t@10+0"); /* no hexadecimal number */
	CU_ASSERT(in.kind == DETECTOR_FLATLINE && in.length_s == 0);
}

static void what_is_wrong_is_named(void)
{
	static const struct {
		const char *text, *sentence;
	} rows[] = {
		{ "spyke@1+1x1", "spyke is none of the kinds spike, level-shift" },
		{ "", "is none of the kinds" },
		{ "seasonal@1+1x1", "seasonal is none of the kinds" },
		{ "spike:@1+1", "a metric's name has 1 to 64 bytes" },
		{ "silence:t@1+1", "silence is a device's, not a metric's: leave :t out" },
		{ "spike", "expected KIND[:METRIC]@START+LENGTH" },
		{ "spike@1", "expected KIND[:METRIC]@START+LENGTH" },
		{ "spike@-1+1", "expected KIND[:METRIC]@START+LENGTH" },
		{ "spike@1+", "expected KIND[:METRIC]@START+LENGTH" },
		{ "spike@1..2+3", "expected KIND[:METRIC]@START+LENGTH" },
		{ "drift@1+0x3", "a drift needs a LENGTH" },
		{ "flatline@1+1x3", "flatline has no SIZE" },
		{ "spike@1+1xbig", "expected a number as SIZE" },
		{ "spike@1+1x--2", "expected a number as SIZE" },
		{ "spike@1+1x2;", "; is not understood" },
		{ "spike@1+1,device=", "a device's id has 1 to 32 bytes" },
		{ "spike@1+1,devices=0", "expected a number of devices from 1 on" },
		{ "spike@1+1,devices=1.5", "expected a number of devices from 1 on" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char error[INJECT_ERROR] = "";
		struct injection in;

		CU_ASSERT_EQUAL(injection_parse(&in, rows[i].text, error), -EINVAL);
		if (!strstr(error, rows[i].sentence)) {
			printf("  \"%s\": wanted \"%s\", got \"%s\"\n", rows[i].text, rows[i].sentence, error);
			CU_FAIL("sentence");
		}
	}
}

/* ------------------------------------------------------------------ what happens */

static void injector_over(struct injector **j)
{
	injector_free(*j);
}
#define INJECTOR(...)                                                                     \
	const struct injection list[] = { __VA_ARGS__ };                                   \
	CLEANUP(injector_over) struct injector *j = NULL;                                  \
	ASSERT_OK(injector_new(&j, list, ARRAY_SIZE(list), 7))

static const char *name_of(const void *context, uint32_t device)
{
	return ((const char *const *)context)[device];
}

/* A reading of "t" and "u" so many seconds after the first. */
static enum inject offer(struct injector *j, uint32_t device, double second, double *t, double *u)
{
	struct telemetry m = { .n_metrics = 2, .metrics = { { SLICE_STR("t"), *t }, { SLICE_STR("u"), *u } } };
	enum inject what = injector_apply(j, device, &m, START_NS + (int64_t)(second * NS_PER_S));

	*t = m.metrics[0].value;
	*u = m.metrics[1].value;
	return what;
}

/* Values of t at 0, 1, ..., 19 s, where 20, 20.25, 20.5, 20.75, 20, ... is sent. */
static void run(struct injector *j, double ret[20])
{
	ASSERT_OK(injector_meet(j, 0, "d0"));
	for (int i = 0; i < 20; i++) {
		double u = 5;

		ret[i] = 20 + 0.25 * (i % 4);
		CU_ASSERT_NOT_EQUAL(offer(j, 0, i, &ret[i], &u), INJECT_WITHHELD);
		CU_ASSERT_EQUAL(u, 5);
	}
}

static void check_truth(struct injector *j, const char *want)
{
	static const char *const names[] = { "d0", "d,1" };
	CLEANUP(buf_done) struct buf b = BUF_INIT;

	injector_truth(j, name_of, names, &b);
	if (strcmp(buf_cstr(&b), want) != 0) {
		printf("  got %s", buf_cstr(&b));
		CU_FAIL("truth");
	}
}

static void a_spike_and_a_shift_add_for_so_long(void)
{
	double v[20];
	INJECTOR(parsed("spike:t@3.5+2x10,device=d0"), parsed("level-shift:t@10+5x-0.5,device=d0"));

	run(j, v);
	for (int i = 0; i < 20; i++) /* from the first reading at 3.5 or later: 4, and until two seconds later */
		CU_ASSERT_EQUAL(v[i], 20 + 0.25 * (i % 4) + (i == 4 || i == 5 ? 10 : i >= 10 && i < 15 ? -0.5 : 0));
	check_truth(j, "device_id,metric,kind,start_ns,end_ns\n"
		       "d0,t,spike,1700000004000000000,1700000005000000000\n"
		       "d0,t,level-shift,1700000010000000000,1700000014000000000\n");
}

static void a_length_of_nothing_is_one_reading(void)
{
	double v[20];
	INJECTOR(parsed("spike:t@3.5+0x10,device=d0"));

	run(j, v);
	for (int i = 0; i < 20; i++)
		CU_ASSERT_EQUAL(v[i], 20 + 0.25 * (i % 4) + (i == 4 ? 10 : 0));
}

static void of_several_readings_of_one_time_it_is_the_first(void)
{
	double first = 20, second = 20, u = 5;
	INJECTOR(parsed("spike:t@0+0x10,device=d0"));

	ASSERT_OK(injector_meet(j, 0, "d0"));
	CU_ASSERT_EQUAL(offer(j, 0, 0, &first, &u), INJECT_CHANGED);
	CU_ASSERT_EQUAL(offer(j, 0, 0, &second, &u), INJECT_NOTHING);
	CU_ASSERT(first == 30 && second == 20);
}

static void a_drift_grows_up_to_its_size(void)
{
	double v[20];
	INJECTOR(parsed("drift:t@4+10x20,device=d0"));

	run(j, v);
	for (int i = 0; i < 20; i++)
		CU_ASSERT_EQUAL(v[i], 20 + 0.25 * (i % 4) + (i >= 4 && i < 14 ? 2 * (i - 4) : 0));
}

static void a_flatline_keeps_the_value_that_it_begins_with(void)
{
	double v[20];
	INJECTOR(parsed("flatline:t@3+6,device=d0"));

	run(j, v);
	for (int i = 0; i < 20; i++)
		CU_ASSERT_EQUAL(v[i], i >= 3 && i < 9 ? 20.75 : 20 + 0.25 * (i % 4));
}

static void noise_stays_within_its_size_and_has_the_metrics_decimals(void)
{
	double v[20];
	int moved = 0;
	INJECTOR(parsed("variance:t@4+100x3,device=d0"));

	run(j, v);
	for (int i = 0; i < 20; i++) {
		double off = v[i] - (20 + 0.25 * (i % 4));

		CU_ASSERT(fabs(off) <= (i < 4 ? 0 : 3.005));
		CU_ASSERT_DOUBLE_EQUAL(v[i] * 100, round(v[i] * 100), 1e-9);
		moved += off != 0;
	}
	CU_ASSERT(moved >= 15);
}

static void silence_withholds_a_device_and_no_other(void)
{
	INJECTOR(parsed("silence@2+3,device=d,1"));

	ASSERT_OK(injector_meet(j, 0, "d0"));
	ASSERT_OK(injector_meet(j, 1, "d,1"));
	CU_ASSERT_EQUAL(injector_hits(j, 0), 0);
	for (int i = 0; i < 10; i++) {
		double t = 1, u = 2;

		CU_ASSERT_EQUAL(offer(j, 0, i, &t, &u), INJECT_NOTHING);
		CU_ASSERT_EQUAL(offer(j, 1, i, &t, &u), i >= 2 && i < 5 ? INJECT_WITHHELD : INJECT_NOTHING);
	}
	CU_ASSERT_EQUAL(injector_hits(j, 0), 1);
	check_truth(j, "device_id,metric,kind,start_ns,end_ns\n\"d,1\",,silence,1700000002000000000,1700000004000000000\n");
}

static void the_seed_chooses_as_many_devices_as_are_asked_for(void)
{
	enum { N = 1000 };
	char error[INJECT_ERROR] = "";
	uint32_t hit[2] = { 0 }, both = 0;
	INJECTOR(parsed("spike:t@0+0x1,devices=100"), parsed("spike:u@0+0x1,devices=100"));

	ASSERT_OK(injector_choose(j, N, error));
	for (uint32_t i = 0; i < N; i++) {
		double t = 0, u = 0;

		offer(j, i, 0, &t, &u);
		hit[0] += t == 1;
		hit[1] += u == 1;
		both += t == 1 && u == 1;
	}
	CU_ASSERT(hit[0] == 100 && hit[1] == 100 && both < 50);
	CU_ASSERT_EQUAL(injector_hits(j, 1), 100);
	CU_ASSERT_EQUAL(injector_choose(j, 99, error), -EINVAL);
	CU_ASSERT_STRING_EQUAL(error, "an injection is meant for 100 devices, and there are 99");
}

/* ------------------------------------------------------------------ in a source */

static void source_over(struct reading_source **s)
{
	readings_free(*s);
}
#define SOURCE CLEANUP(source_over) struct reading_source *s = NULL

static void check_reading(const struct fleet_reading *r, const char *device, double want)
{
	struct telemetry t;
	uint64_t tag[2];

	ASSERT_OK(telemetry_parse(&t, r->payload.data, r->payload.len));
	telemetry_tag(r->payload.data, r->payload.len, &siphash_open_key, tag);
	CU_ASSERT(t.canonical && t.integrity_hash == tag[0] && tag[0] == r->tag[0] && tag[1] == r->tag[1]);
	CU_ASSERT(t.device_id.len == strlen(device) && memcmp(t.device_id.data, device, t.device_id.len) == 0);
	CU_ASSERT_EQUAL(t.metrics[0].value, want);
}

static void readings_of_a_file_are_changed_and_signed_anew(void)
{
	static const char lines[] = "{\"timestamp_ns\":\"1000000000\",\"device_id\":\"a\",\"metrics\":{\"t\":1.5}}\n"
				    "{\"timestamp_ns\":\"1000000000\",\"device_id\":\"b\",\"metrics\":{\"t\":1.5}}\n"
				    "{\"timestamp_ns\":\"2000000000\",\"device_id\":\"a\",\"metrics\":{\"t\":2}}\n"
				    "{\"timestamp_ns\":\"2000000000\",\"device_id\":\"b\",\"metrics\":{\"t\":2}}\n"
				    "{\"timestamp_ns\":\"3000000000\",\"device_id\":\"a\",\"metrics\":{\"t\":3}}\n";
	static const struct {
		const char *device;
		double value;
	} want[] = { { "a", 1.5 }, { "b", 1.5 }, { "a", 12.5 }, { "a", 3 } };
	char path[] = "/tmp/sluice-inject-XXXXXX";
	int file = mkstemp(path);
	struct reading_error error = { "" };
	struct fleet_reading r;
	int64_t due_ns;
	INJECTOR(parsed("spike:t@1+1x10.5,device=a"), parsed("silence@1+1,device=b"));
	SOURCE;

	CU_ASSERT_FATAL(file >= 0 && write(file, lines, strlen(lines)) == (ssize_t)strlen(lines));
	close(file);
	ASSERT_OK(readings_from_file(&s, path, 0, NULL, &error));
	ASSERT_OK(readings_inject(s, j, &error));
	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		CU_ASSERT_EQUAL_FATAL(readings_next(s, 0, &r, &due_ns, &error), 1);
		check_reading(&r, want[i].device, want[i].value);
	}
	CU_ASSERT_EQUAL(readings_next(s, 0, &r, &due_ns, &error), -ENODATA);
	unlink(path);
}

static void a_file_that_is_played_is_due_in_its_own_time(void)
{
	static const char lines[] = "{\"timestamp_ns\":\"5000000000\",\"device_id\":\"a\",\"metrics\":{\"t\":1}}\n"
				    "{\"timestamp_ns\":\"7000000000\",\"device_id\":\"b\",\"metrics\":{\"t\":2}}\n"
				    "{\"timestamp_ns\":\"6000000000\",\"device_id\":\"a\",\"metrics\":{\"t\":3}}\n";
	char path[] = "/tmp/sluice-inject-XXXXXX";
	int file = mkstemp(path);
	struct reading_error error = { "" };
	struct fleet_reading r;
	int64_t due_ns = 0, start_ns = 100;
	SOURCE;

	CU_ASSERT_FATAL(file >= 0 && write(file, lines, strlen(lines)) == (ssize_t)strlen(lines));
	close(file);
	ASSERT_OK(readings_from_file(&s, path, 4, NULL, &error));
	CU_ASSERT_EQUAL_FATAL(readings_next(s, start_ns, &r, &due_ns, &error), 1);
	check_reading(&r, "a", 1);
	for (int i = 0; i < 2; i++) {
		CU_ASSERT_EQUAL(readings_next(s, start_ns + NS_PER_S / 2 - 1, &r, &due_ns, &error), 0);
		CU_ASSERT_EQUAL(due_ns, start_ns + NS_PER_S / 2); /* two seconds at four times their speed */
	}
	CU_ASSERT_EQUAL_FATAL(readings_next(s, due_ns, &r, &due_ns, &error), 1);
	check_reading(&r, "b", 2);
	CU_ASSERT_EQUAL_FATAL(readings_next(s, due_ns, &r, &due_ns, &error), 1); /* an older one is due already */
	check_reading(&r, "a", 3);
	CU_ASSERT_EQUAL(readings_next(s, INT64_MAX, &r, &due_ns, &error), -ENODATA);
	unlink(path);
}

static void made_up_readings_are_changed_too(void)
{
	struct synthetic_options options = { .devices = 3, .rate = 300, .seed = 9, .prefix = "x-", .region = "", .spike_at_s = -1 };
	struct reading_error error = { "" };
	struct fleet_reading r;
	int64_t due_ns, now_ns = 1;
	int n[3] = { 0 };
	INJECTOR(parsed("spike:temperature@0+1000x500,device=x-000001"), parsed("silence@0+1000,device=x-000002"));
	SOURCE;

	ASSERT_OK(readings_synthetic(&s, &options, NULL));
	ASSERT_OK(readings_inject(s, j, &error));
	for (; now_ns < NS_PER_S; now_ns += NS_PER_MS) {
		struct telemetry t;

		if (readings_next(s, now_ns, &r, &due_ns, &error) != 1)
			continue;
		ASSERT_OK(telemetry_parse(&t, r.payload.data, r.payload.len));
		CU_ASSERT_EQUAL(t.metrics[2].value > 400, r.device == 1);
		n[r.device]++;
	}
	CU_ASSERT(n[0] > 90 && n[1] > 90 && n[2] == 0);
}

static void a_made_up_device_that_does_not_exist_is_an_error(void)
{
	struct synthetic_options options = { .devices = 3, .rate = 300, .seed = 9, .prefix = "x-", .region = "", .spike_at_s = -1 };
	struct reading_error error = { "" };
	INJECTOR(parsed("silence@0+1,device=x-000003"));
	SOURCE;

	ASSERT_OK(readings_synthetic(&s, &options, NULL));
	CU_ASSERT_EQUAL(readings_inject(s, j, &error), -EINVAL);
	CU_ASSERT_STRING_EQUAL(error.text, "an injection is meant for device x-000003, and there is none of that name");
}

TESTS("inject", T(what_is_asked_for_is_understood), T(what_is_wrong_is_named), T(a_spike_and_a_shift_add_for_so_long),
      T(a_length_of_nothing_is_one_reading), T(of_several_readings_of_one_time_it_is_the_first),
      T(a_drift_grows_up_to_its_size), T(a_flatline_keeps_the_value_that_it_begins_with),
      T(noise_stays_within_its_size_and_has_the_metrics_decimals), T(silence_withholds_a_device_and_no_other),
      T(the_seed_chooses_as_many_devices_as_are_asked_for), T(readings_of_a_file_are_changed_and_signed_anew),
      T(a_file_that_is_played_is_due_in_its_own_time), T(made_up_readings_are_changed_too),
      T(a_made_up_device_that_does_not_exist_is_an_error))
