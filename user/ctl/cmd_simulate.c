/* sluice simulate: a real CoAP client fleet, for trying a gateway out and for the tests. */
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/rand.h"
#include "base/stop.h"
#include "bpf/shared/contract.h"
#include "config/master.h"
#include "ctl/commands.h"
#include "ctl/fleet.h"
#include "ctl/inject.h"
#include "net/loader.h"

#define DRAIN_NS (100 * NS_PER_S) /* MAX_TRANSMIT_WAIT of RFC 7252 is 93 s */

struct simulation {
	const char *from, *to, *key, *json, *let_pass, *truth;
	struct synthetic_options synthetic;
	struct fleet_options fleet;
	double seconds, speed;
	bool quiet;
	const char *wanted[INJECTIONS_MAX]; /* as they were asked for */
	struct injection injections[INJECTIONS_MAX];
	size_t n_injections;
	struct injector *injector;
	struct reading_source *source;
	int64_t start_ns;
};

/* "coap://host", "coap://host:port", "coap://[v6]:port". */
static int resolve(struct fleet_options *ret, const char *url)
{
	char host[256], port[8] = "5683";
	const char *at = strncmp(url, "coap://", 7) == 0 ? url + 7 : NULL;
	struct addrinfo hints = { .ai_socktype = SOCK_DGRAM }, *found;

	if (!at)
		return fprintf(stderr, "sluice simulate: --to %s: expected coap://HOST[:PORT]\n", url), -EINVAL;

	bool bracket = *at == '[';
	const char *end = bracket ? strchr(at, ']') : at + strcspn(at, ":/");

	at += bracket;
	if (!end || end == at || (size_t)(end - at) >= sizeof(host))
		return fprintf(stderr, "sluice simulate: --to %s has no host\n", url), -EINVAL;
	snprintf(host, sizeof(host), "%.*s", (int)(end - at), at);
	end += bracket;
	if (*end == ':')
		snprintf(port, sizeof(port), "%.*s", (int)MIN(strcspn(end + 1, "/"), sizeof(port) - 1), end + 1);

	int r = getaddrinfo(host, port, &hints, &found);

	if (r != 0)
		return fprintf(stderr, "sluice simulate: --to %s: %s\n", url, gai_strerror(r)), -EINVAL;
	memcpy(&ret->to, found->ai_addr, found->ai_addrlen);
	ret->to_len = found->ai_addrlen;
	freeaddrinfo(found);
	return 0;
}

/* ------------------------------------------------------------------ arguments */

static bool number(const char *name, const char *text, double min, double max, double *ret)
{
	char *end;

	errno = 0;
	*ret = strtod(text, &end);
	if (end != text && !*end && errno == 0 && *ret >= min && *ret <= max)
		return true;
	fprintf(stderr, "sluice simulate: --%s %s: expected a number from %g to %g\n", name, text, min, max);
	return false;
}

static bool take_injection(struct simulation *s, const char *value)
{
	char error[INJECT_ERROR] = "";

	if (s->n_injections == INJECTIONS_MAX)
		return fprintf(stderr, "sluice simulate: --inject %s: at most %d of them\n", value, INJECTIONS_MAX), false;
	if (injection_parse(&s->injections[s->n_injections], value, error) < 0)
		return fprintf(stderr, "sluice simulate: --inject %s\n", error), false;
	s->wanted[s->n_injections++] = value;
	return true;
}

static bool take_option(struct simulation *s, int c, const char *value)
{
	double v;

	switch (c) {
	case 'f': s->from = value; return true;
	case 't': s->to = value; return true;
	case 'k': s->key = value; return true;
	case 'j': s->json = value; return true;
	case 'l': s->let_pass = value; return true;
	case 'q': s->quiet = true; return true;
	case 'I': return take_injection(s, value);
	case 'T': s->truth = value; return true;
	case 'n': s->fleet.non = true; return true;
	case 'g': s->synthetic.region = value; return true;
	case 'p': s->synthetic.prefix = value; return true;
	case 'R': return number("repeat", value, 0, 1, &s->fleet.repeat);
	case 'r': return number("rate", value, 0.001, 1e7, &s->synthetic.rate);
	case 's': return number("seconds", value, 0.001, 1e9, &s->seconds);
	case 'x': return number("spike", value, 0, 1e9, &s->synthetic.spike_at_s);
	case 'S': return number("speed", value, 1e-6, 1e9, &s->speed);
	}
	switch (c) {
	case 'd':
		if (!number("devices", value, 1, 1e7, &v))
			return false;
		s->synthetic.devices = (uint32_t)v;
		return true;
	case 'w':
		if (!number("spread", value, 0, 1e9, &v))
			return false;
		s->fleet.spread_ns = (int64_t)(v * NS_PER_S);
		return true;
	case 'i':
		if (!number("in-flight", value, 1, 1 << 18, &v))
			return false;
		s->fleet.in_flight_max = (uint32_t)v;
		return true;
	case 'e':
		if (!number("seed", value, 0, 1e15, &v))
			return false;
		s->synthetic.seed = (uint64_t)v;
		return true;
	}
	return false;
}

/* What was left open; -1: go on; else the exit code. */
static int complete_injection(struct simulation *s, size_t i)
{
	struct injection *to = &s->injections[i];
	bool sized = to->kind != DETECTOR_SILENCE && to->kind != DETECTOR_FLATLINE;
	const char *text = s->wanted[i];

	if (s->from && !to->device[0])
		return usage_error("simulate", "--inject %s: with --from say which device: ,device=ID", text);
	if (to->kind == DETECTOR_SILENCE)
		return -1;
	if (s->from && !to->metric[0])
		return usage_error("simulate", "--inject %s: with --from say which metric: KIND:METRIC@...", text);
	if (s->from)
		return sized && isnan(to->size) ?
			       usage_error("simulate", "--inject %s: with --from say how much: ...+LENGTHxSIZE", text) : -1;
	if (!to->metric[0])
		strcpy(to->metric, "temperature");
	if (readings_synthetic_jump(to->metric) == 0)
		return usage_error("simulate", "--inject %s: made-up devices have humidity, light, temperature and voltage", text);
	if (sized && isnan(to->size))
		to->size = readings_synthetic_jump(to->metric);
	return -1;
}

/* -1: go on; else the exit code. */
static int read_arguments(struct simulation *s, int argc, char **argv)
{
	static const struct option options[] = {
		{ "from", 1, NULL, 'f' }, { "to", 1, NULL, 't' }, { "key", 1, NULL, 'k' }, { "json", 1, NULL, 'j' },
		{ "quiet", 0, NULL, 'q' }, { "non", 0, NULL, 'n' }, { "region", 1, NULL, 'g' }, { "prefix", 1, NULL, 'p' },
		{ "repeat", 1, NULL, 'R' }, { "rate", 1, NULL, 'r' }, { "seconds", 1, NULL, 's' }, { "spike", 1, NULL, 'x' },
		{ "let-pass", 1, NULL, 'l' }, { "devices", 1, NULL, 'd' }, { "spread", 1, NULL, 'w' }, { "in-flight", 1, NULL, 'i' }, { "seed", 1, NULL, 'e' },
		{ "inject", 1, NULL, 'I' }, { "truth", 1, NULL, 'T' }, { "speed", 1, NULL, 'S' }, { 0 },
	};

	for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		if (c == '?')
			return CTL_USAGE;
		if (!take_option(s, c, optarg))
			return CTL_USAGE;
	}
	if (optind < argc)
		return usage_error("simulate", "unexpected argument %s", argv[optind]);
	if (!s->to)
		return usage_error("simulate", "--to coap://HOST[:PORT] is missing");
	if (!s->from == !s->synthetic.devices)
		return usage_error("simulate", "say either --from FILE or --devices N and --rate R");
	if (s->synthetic.devices && s->synthetic.rate <= 0)
		return usage_error("simulate", "--devices needs --rate R");
	if (s->speed > 0 && !s->from)
		return usage_error("simulate", "--speed is for --from; made-up readings have --rate");
	if (s->truth && s->n_injections == 0)
		return usage_error("simulate", "--truth says what --inject has done, and there is none");
	for (size_t i = 0; i < s->n_injections; i++) {
		int status = complete_injection(s, i);

		if (status >= 0)
			return status;
	}
	return -1;
}

/* ------------------------------------------------------------------ results */

static void append_result(struct buf *b, const struct simulation *s, const struct fleet *f, bool running)
{
	struct fleet_stats st;
	const char *comma = "";

	fleet_stats(f, &st);
	buf_printf(b, "{\"running\":%s,\"seconds\":%.3f,\"readings\":%llu,\"sent\":%llu,\"acked\":%llu,\"unanswered\":%llu,",
		   running ? "true" : "false", (double)(clock_mono_ns() - s->start_ns) / NS_PER_S,
		   (unsigned long long)st.readings, (unsigned long long)st.sent, (unsigned long long)st.acked,
		   (unsigned long long)st.unanswered);
	buf_printf(b, "\"retransmitted\":%llu,\"repeated\":%llu,\"extra_acks\":%llu,\"given_up\":%llu,\"bad_receipts\":%llu,",
		   (unsigned long long)st.retransmitted, (unsigned long long)st.repeated, (unsigned long long)st.extra_acks,
		   (unsigned long long)st.given_up, (unsigned long long)st.bad_receipts);
	buf_printf(b, "\"send_failed\":%llu,\"in_flight\":%u,\"refused\":{", (unsigned long long)st.send_failed, st.in_flight);
	for (unsigned code = 0; code < ARRAY_SIZE(st.refused); code++) {
		if (st.refused[code] == 0)
			continue;
		buf_printf(b, "%s\"%u.%02u\":%llu", comma, code >> 5, code & 31, (unsigned long long)st.refused[code]);
		comma = ",";
	}
	buf_printf(b, "},\"refused_final\":%llu,\"ack_latency_ms\":{\"p50\":%.3f,\"p95\":%.3f,\"p99\":%.3f},\"devices\":%u",
		   (unsigned long long)st.refused_final, (double)fleet_ack_quantile(f, 0.5) / NS_PER_MS,
		   (double)fleet_ack_quantile(f, 0.95) / NS_PER_MS, (double)fleet_ack_quantile(f, 0.99) / NS_PER_MS,
		   readings_devices(s->source));
	if (readings_spike_ns(s->source) > 0)
		buf_printf(b, ",\"spike\":{\"device_id\":\"%s\",\"injected_ns\":\"%lld\"}", readings_device_id(s->source, 0),
			   (long long)readings_spike_ns(s->source));
	buf_append_str(b, "}\n");
}

static int write_file(const char *path, const struct buf *b)
{
	int r = file_replace(path, buf_slice(b));

	if (r < 0)
		fprintf(stderr, "sluice simulate: %s: %s\n", path, strerror(-r));
	return r < 0 ? -EIO : 0;
}

static const char *id_of(const void *context, uint32_t device)
{
	return readings_device_id(context, device);
}

static int write_result(const struct simulation *s, const struct fleet *f, bool running)
{
	CLEANUP(buf_done) struct buf b = BUF_INIT;

	if (s->truth) {
		injector_truth(s->injector, id_of, s->source, &b);
		if (buf_error(&b) < 0 || write_file(s->truth, &b) < 0)
			return -EIO;
	}
	if (!s->json)
		return 0;
	buf_reset(&b);
	append_result(&b, s, f, running);
	return write_file(s->json, &b);
}

static void show_progress(const struct simulation *s, const struct fleet *f)
{
	struct fleet_stats st;

	if (s->quiet || !isatty(STDERR_FILENO))
		return;
	fleet_stats(f, &st);
	fprintf(stderr, "\r%8.1f s  %llu acked, %u in flight, %llu retransmitted, %llu refused, %llu given up   ",
		(double)(clock_mono_ns() - s->start_ns) / NS_PER_S, (unsigned long long)st.acked, st.in_flight,
		(unsigned long long)st.retransmitted, (unsigned long long)st.refused_final, (unsigned long long)st.given_up);
}

/* ------------------------------------------------------------------ the run */

static int run(struct simulation *s, struct fleet *f)
{
	struct reading_error error = { "" };
	int64_t end_ns = s->seconds > 0 ? s->start_ns + (int64_t)(s->seconds * NS_PER_S) : CLOCK_FOREVER;
	int64_t drain_until_ns = 0;
	int r;

	do {
		int64_t now_ns = clock_mono_ns();
		bool taking = now_ns < end_ns && !stop_requested();

		if (!taking && drain_until_ns == 0)
			drain_until_ns = now_ns + DRAIN_NS;
		if (drain_until_ns != 0 && now_ns > drain_until_ns)
			break;
		r = fleet_step(f, taking, MIN(now_ns + NS_PER_S / 2, taking ? end_ns : now_ns + NS_PER_S), &error);
		show_progress(s, f);
		if (write_result(s, f, r == 1) < 0)
			return -EIO;
	} while (r == 1);
	if (!s->quiet && isatty(STDERR_FILENO))
		fputc('\n', stderr);
	if (r < 0)
		fprintf(stderr, "sluice simulate: %s%s%s\n", s->from ? s->from : "", s->from ? ": " : "",
			error.text[0] ? error.text : strerror(-r));
	return r;
}

static int print_summary(const struct simulation *s, const struct fleet *f)
{
	CLEANUP(buf_done) struct buf b = BUF_INIT;
	struct fleet_stats st;

	for (size_t i = 0; i < s->n_injections; i++)
		if (injector_hits(s->injector, i) < s->injections[i].devices)
			fprintf(stderr, "sluice simulate: --inject %s: %u of %u devices had a reading that it could change\n",
				s->wanted[i], injector_hits(s->injector, i), s->injections[i].devices);
	fleet_stats(f, &st);
	if (!s->json) {
		append_result(&b, s, f, false);
		fputs(buf_cstr(&b), stdout);
	}
	return st.given_up + st.refused_final + st.bad_receipts > 0 ? CTL_FAILED : CTL_FINE;
}

int cmd_simulate(int argc, char **argv)
{
	struct simulation s = {
		.synthetic = { .prefix = "device-", .region = "", .spike_at_s = -1 },
		.fleet = { .content_format = SLUICE_CONTENT_FORMAT, .in_flight_max = 4096 },
	};
	struct reading_error error = { "" };
	struct config_error key_error;
	struct siphash_key master;
	struct fleet *f = NULL;
	int status = read_arguments(&s, argc, argv);

	if (status >= 0)
		return status;
	if (s.synthetic.seed == 0)
		s.synthetic.seed = rand_u64();
	s.fleet.seed = s.synthetic.seed ^ rand_u64();
	if (s.key && master_key_read(&master, s.key, &key_error) < 0)
		return fprintf(stderr, "sluice simulate: --key: %s\n", key_error.text), CTL_FAILED;
	if (resolve(&s.fleet, s.to) < 0 || stop_setup() < 0)
		return CTL_FAILED;


	int r = s.let_pass ? xdp_let_pass(s.let_pass) : 0;

	if (r < 0)
		return fprintf(stderr, "sluice simulate: --let-pass %s: %s\n", s.let_pass, strerror(-r)), CTL_FAILED;

	const struct siphash_key *key = s.key ? &master : NULL;

	r = injector_new(&s.injector, s.injections, s.n_injections, s.synthetic.seed);
	if (r == 0)
		r = s.from ? readings_from_file(&s.source, s.from, s.speed, key, &error) :
			     readings_synthetic(&s.source, &s.synthetic, key);
	if (r == 0 && s.n_injections > 0)
		r = readings_inject(s.source, s.injector, &error);
	if (r == 0)
		r = fleet_new(&f, &s.fleet, s.source);
	if (r < 0) {
		fprintf(stderr, "sluice simulate: %s\n", error.text[0] ? error.text : strerror(-r));
	} else {
		s.start_ns = clock_mono_ns();
		r = run(&s, f);
	}
	status = r < 0 ? CTL_FAILED : print_summary(&s, f);
	fleet_free(f);
	readings_free(s.source);
	injector_free(s.injector);
	return status;
}
