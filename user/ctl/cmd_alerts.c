/* sluice alerts: what is open, who looks after it, and by which rules. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alerts/rules.h"
#include "base/buf.h"
#include "base/clock.h"
#include "ctl/commands.h"
#include "ctl/scrape.h"

struct wish {
	const char *config, *at, *by, *lasting, *note;
	bool json, all;
	char host[64];
	uint16_t port;
};

/* ------------------------------------------------------------------ where to ask */

static int find_port(struct wish *w)
{
	CLEANUP(config_done) struct settings s = { 0 };
	struct config_error e;

	if (config_load(&s, w->config, &e) < 0) {
		fprintf(stderr, "%s\n", e.text);
		return CTL_FAILED;
	}
	if (scrape_admin_of(&s, w->host, &w->port))
		return CTL_FINE;
	fprintf(stderr, "%s: the aggregator's admin port is not known: it does not run, or admin.listen is empty\n",
		w->config);
	return CTL_FAILED;
}

static int find_aggregator(struct wish *w)
{
	const char *colon = w->at ? strrchr(w->at, ':') : NULL;

	if (w->config && w->at)
		return usage_error("alerts", "--config and --at exclude each other");
	if (w->config)
		return find_port(w);
	if (!w->at)
		return usage_error("alerts", "--config FILE or --at HOST:PORT is missing");
	w->port = colon ? (uint16_t)atoi(colon + 1) : 0;
	if (w->port == 0 || colon - w->at >= (ptrdiff_t)sizeof(w->host))
		return usage_error("alerts", "--at must be HOST:PORT, not \"%s\"", w->at);
	snprintf(w->host, sizeof(w->host), "%.*s", (int)(colon - w->at), w->at);
	return CTL_FINE;
}

static int read_options(struct wish *w, int argc, char **argv)
{
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' }, { "at", required_argument, NULL, 'a' },
		{ "by", required_argument, NULL, 'b' },	    { "for", required_argument, NULL, 'f' },
		{ "note", required_argument, NULL, 'n' },   { "json", no_argument, NULL, 'j' },
		{ "all", no_argument, NULL, 'l' },	    { 0 },
	};

	opterr = 0;
	for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;)
		switch (c) {
		case 'c': w->config = optarg; break;
		case 'a': w->at = optarg; break;
		case 'b': w->by = optarg; break;
		case 'f': w->lasting = optarg; break;
		case 'n': w->note = optarg; break;
		case 'j': w->json = true; break;
		case 'l': w->all = true; break;
		default: return usage_error("alerts", "%s is not known, or lacks its value", argv[optind - 1]);
		}
	return CTL_FINE;
}

/* ------------------------------------------------------------------ the list */

static const char *text_in(const json_t *line, const char *key)
{
	const char *text = json_string_value(json_object_get(line, key));

	return text ? text : "";
}

static bool is_open(const json_t *line)
{
	return strcmp(text_in(line, "status"), "cleared") != 0 && strcmp(text_in(line, "status"), "past") != 0;
}

/* "3m", "2h", ...: how long ago. */
static const char *age_of(const json_t *line, const char *key, char ret[static 16])
{
	static const struct {
		double s;
		const char *unit;
	} units[] = { { 86400, "d" }, { 3600, "h" }, { 60, "m" }, { 1, "s" } };
	double s = ((double)clock_wall_ns() - json_number_at(line, key)) / NS_PER_S;
	size_t u = 0;

	while (u + 1 < ARRAY_SIZE(units) && s < units[u].s)
		u++;
	snprintf(ret, 16, "%.0f%s", MAX(s, 0.0) / units[u].s, units[u].unit);
	return ret;
}

/* "31.5, expected 20" */
static const char *value_of(const json_t *line, char ret[static 80])
{
	*ret = '\0';
	if (json_is_number(json_object_get(line, "value")))
		snprintf(ret, 80, "%.6g, expected %.6g", json_number_at(line, "value"), json_number_at(line, "expected"));
	return ret;
}

#define ROW "%-16s  %-5s  %-8s  %-12s  %-18s  %-40s  %7s  %-16s  %s"

static void show_line(const json_t *line)
{
	const char *place = text_in(line, "place"), *region = text_in(line, "region"), *metric = text_in(line, "metric");
	char kind[32], where[160], devices[24], age[16], value[80];

	snprintf(kind, sizeof(kind), "%s%s%s", text_in(line, "kind"), *text_in(line, "direction") ? " " : "",
		 text_in(line, "direction"));
	snprintf(where, sizeof(where), "%s%s%s%s%s%s%s", region, *region && *place ? "/" : "", place,
		 *region || *place ? " " : "", text_in(line, "type"), *metric ? " " : "", metric);
	snprintf(devices, sizeof(devices), "%.0f", json_number_at(line, "devices"));
	printf(ROW "%s%s\n", text_in(line, "alert_id"),
	       age_of(line, "onset_ns", age), text_in(line, "severity"), text_in(line, "status"), kind, where, devices,
	       text_in(line, "device_id"), value_of(line, value), *text_in(line, "by") ? "; by " : "", text_in(line, "by"));
}

static int list(const struct wish *w)
{
	json_t *lines = scrape_json(w->host, w->port, "/alerts.json"), *line;
	size_t i, shown = 0;

	if (!lines) {
		fprintf(stderr, "sluice alerts: nobody answers at http://%s:%u/alerts.json\n", w->host, w->port);
		return CTL_FAILED;
	}
	json_array_foreach(lines, i, line) {
		if (!w->all && !is_open(line))
			continue;
		if (shown++ == 0 && !w->json)
			printf(ROW "\n", "ALERT", "SINCE", "SEVERITY", "STATUS", "KIND", "WHERE", "DEVICES", "WORST", "VALUE");
		if (w->json) {
			json_dumpf(line, stdout, JSON_COMPACT | JSON_REAL_PRECISION(17));
			putchar('\n');
		} else {
			show_line(line);
		}
	}
	if (shown == 0 && !w->json)
		printf("No alert%s.\n", w->all ? "" : " is open");
	json_decref(lines);
	return CTL_FINE;
}

/* ------------------------------------------------------------------ ack and rules */

static int acknowledge(struct wish *w, const char *id)
{
	CLEANUP(buf_done) struct buf answer = BUF_INIT;
	json_t *ask = json_object();

	json_object_set_new(ask, "alert_id", json_string(id));
	json_object_set_new(ask, "by", json_string(w->by));
	if (w->lasting)
		json_object_set_new(ask, "for", json_string(w->lasting));
	if (w->note)
		json_object_set_new(ask, "note", json_string(w->note));

	CLEANUP_FREE char *text = json_dumps(ask, JSON_COMPACT);

	json_decref(ask);
	if (!text) {
		fprintf(stderr, "sluice alerts: the name or note is not UTF-8 text\n");
		return CTL_FAILED;
	}

	long status = scrape_post(w->host, w->port, "/alerts/ack", text, &answer);

	if (status == 200) {
		printf("%s is acknowledged by %s\n", id, w->by);
		return CTL_FINE;
	}
	if (status == 0)
		fprintf(stderr, "sluice alerts: nobody answers at http://%s:%u/alerts/ack\n", w->host, w->port);
	else
		fprintf(stderr, "sluice alerts: %s", buf_cstr(&answer));
	return CTL_FAILED;
}

static int show_rules(const char *path)
{
	struct alert_rules *rules;
	struct rules_error e;

	if (!path) {
		fputs(rules_builtin, stdout);
		return CTL_FINE;
	}
	if (rules_load(&rules, path, &e) < 0) {
		fprintf(stderr, "%s\n", e.text);
		return CTL_FAILED;
	}
	printf("%s: fine, %u rules; the first that matches decides\n", path, rules->n_rules);
	rules_print(rules, stdout);
	rules_free(rules);
	return CTL_FINE;
}

int cmd_alerts(int argc, char **argv)
{
	struct wish w = { 0 };
	int r = read_options(&w, argc, argv);
	const char *verb = r == CTL_FINE && optind < argc ? argv[optind] : "";
	int n = argc - optind;

	if (r != CTL_FINE)
		return r;
	if (!strcmp(verb, "rules") && n > 2)
		return usage_error("alerts", "rules has too many arguments");
	if (!strcmp(verb, "rules"))
		return show_rules(n == 2 ? argv[optind + 1] : NULL);
	if (*verb && strcmp(verb, "ack") != 0)
		return usage_error("alerts", "ack or rules, not \"%s\"", verb);
	if (*verb && (n != 2 || !w.by))
		return usage_error("alerts", n != 2 ? "ack needs the ID of one alert" : "ack needs --by NAME");
	r = find_aggregator(&w);
	if (r != CTL_FINE)
		return r;
	return *verb ? acknowledge(&w, argv[optind + 1]) : list(&w);
}
