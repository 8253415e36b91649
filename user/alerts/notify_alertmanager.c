/* An alert of Sluice as an alert of Alertmanager (API v2, POST /api/v2/alerts).
 *
 * Alertmanager knows an alert by the set of its labels and by nothing else: another value of one label is another
 * alert, beside the first.  So labels are what holds for the alert's whole life, and the first of a life are kept for
 * all of it: the rule (alertname), region, type, place, metric, alert_id, and the kind and severity that it was raised
 * with.  What changes is an annotation: state, count and worst of the devices, who acknowledged, and `kind` and
 * `severity` as they are now.
 *
 * So an escalation is an annotation too.  As a label it would make a second alert: the first would have to be resolved,
 * which tells the first route's people that all is well while it gets worse, silences set for the first would not
 * hold, and an aggregator that stops in between would leave both open.  What it costs: Alertmanager neither routes by
 * annotations nor notifies again because one has changed; people see it with the next notification of the group, at
 * the latest after the route's repeat_interval.  Whoever must hear of an escalation at once has a webhook of Sluice's
 * own, or a rule of its own with the higher severity.
 *
 * startsAt is the onset, never later than now; endsAt of an open alert lies four resend intervals ahead, as Prometheus
 * does it, so that an alert of a Sluice that has gone ends by itself; of a cleared one it is the moment of its sending.
 * That and not the reading's time: with replayed data these lie years apart.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "alerts/notify_internal.h"
#include "base/clock.h"
#include "codec/decimal.h"
#include "codec/telemetry.h"

/* Numbers as the line has them, lists as JSON; nothing for null, "" and what is not there. */
static void append_value(struct buf *b, const json_t *v)
{
	char number[DECIMAL_TEXT_MAX];

	switch (v ? json_typeof(v) : JSON_NULL) {
	case JSON_STRING:
		buf_append(b, json_string_value(v), json_string_length(v));
		break;
	case JSON_INTEGER:
		buf_printf(b, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
		break;
	case JSON_REAL:
		decimal_format(json_real_value(v), number);
		buf_append_str(b, number);
		break;
	case JSON_TRUE:
	case JSON_FALSE:
		buf_append_str(b, json_is_true(v) ? "true" : "false");
		break;
	case JSON_NULL:
		break;
	case JSON_OBJECT:
	case JSON_ARRAY: {
		char *text = json_dumps(v, JSON_COMPACT | JSON_REAL_PRECISION(6));

		if (!text)
			b->failed = true;
		else
			buf_append_str(b, text);
		free(text);
	}
	}
}

/* One member of an object that begins with `{`. */
static void append_text(struct buf *object, const char *name, struct slice text)
{
	if (text.len == 0)
		return;
	if (object->len > 1)
		buf_append_u8(object, ',');
	buf_printf(object, "\"%s\":", name);
	json_append_string(object, text);
}

static void append_member(struct buf *object, const char *name, const json_t *v)
{
	CLEANUP(buf_done) struct buf text = BUF_INIT;

	append_value(&text, v);
	append_text(object, name, buf_slice(&text));
	object->failed |= text.failed;
}

/* Nanoseconds stand in a line as decimal strings; 0 when there are none. */
static int64_t time_of(const json_t *line, const char *key)
{
	const json_t *v = json_object_get(line, key);

	return json_is_string(v) ? strtoll(json_string_value(v), NULL, 10) : json_integer_value(v);
}

static const char *text_of(const json_t *line, const char *key)
{
	const char *text = json_string_value(json_object_get(line, key));

	return text ? text : "";
}

/* "spike up: temperature of thermometer at hall-3: 31.5, expected 21, 12 devices" */
static void append_summary(struct buf *object, const json_t *line)
{
	CLEANUP(buf_done) struct buf s = BUF_INIT;
	const char *place = *text_of(line, "place") ? text_of(line, "place") : text_of(line, "region");
	const json_t *devices = json_object_get(line, "devices");

	buf_append_str(&s, *text_of(line, "kind") ? text_of(line, "kind") : text_of(line, "rule"));
	if (*text_of(line, "direction"))
		buf_printf(&s, " %s", text_of(line, "direction"));
	if (*text_of(line, "metric"))
		buf_printf(&s, ": %s of %s", text_of(line, "metric"), text_of(line, "type"));
	else
		buf_printf(&s, ": %s", text_of(line, "type"));
	if (*place)
		buf_printf(&s, " at %s", place);
	if (json_is_number(json_object_get(line, "value"))) {
		buf_append_str(&s, ": ");
		append_value(&s, json_object_get(line, "value"));
		if (json_is_number(json_object_get(line, "expected"))) {
			buf_append_str(&s, ", expected ");
			append_value(&s, json_object_get(line, "expected"));
		}
	}
	if (json_integer_value(devices) > 1)
		buf_printf(&s, ", %" JSON_INTEGER_FORMAT " devices", json_integer_value(devices));
	append_text(object, "summary", buf_slice(&s));
	object->failed |= s.failed;
}

static void append_labels(struct buf *b, const json_t *line, const struct notify_alert *alert)
{
	static const char *const names[] = { "region", "type", "place", "metric" };
	char id[17];

	snprintf(id, sizeof(id), "%016" PRIx64, alert->alert_id);
	buf_append_u8(b, '{');
	append_member(b, "alertname", json_object_get(line, "rule"));
	append_text(b, "alert_id", SLICE(id, 16));
	if (alert->raised_severity)
		append_text(b, "severity", SLICE_STR(alert->raised_severity));
	else
		append_member(b, "severity", json_object_get(line, "severity"));
	append_member(b, "kind", json_object_get(line, *text_of(line, "began_as") ? "began_as" : "kind"));
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		append_member(b, names[i], json_object_get(line, names[i]));
	buf_append_u8(b, '}');
}

static void append_annotations(struct buf *ret, const json_t *line)
{
	static const char *const names[] = { "status", "severity", "kind", "direction", "device_id", "devices", "value", "expected",
					     "low", "high", "score", "shares", "by", "note", "reason" };
	CLEANUP(buf_done) struct buf b = BUF_INIT;
	char until[CLOCK_ISO_LEN];

	buf_append_u8(&b, '{');
	append_summary(&b, line);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		append_member(&b, names[i], json_object_get(line, names[i]));
	if (time_of(line, "until_ns") != 0) {
		clock_format_iso(time_of(line, "until_ns"), until);
		append_text(&b, "until", SLICE_STR(until));
	}
	buf_append_u8(&b, '}');
	buf_printf(ret, ",\"annotations\":%s", buf_cstr(&b));
	ret->failed |= b.failed;
}

static void append_time(struct buf *b, const char *name, int64_t wall_ns)
{
	char text[CLOCK_ISO_LEN];

	clock_format_iso(wall_ns, text);
	buf_printf(b, ",\"%s\":\"%s\"", name, text);
}

int alertmanager_render(struct buf *ret_labels, struct buf *ret_rest, const struct notify_alert *alert,
			const char *page_url, int64_t wall_ns)
{
	json_auto_t *line = json_loadb(alert->line.data, alert->line.len, JSON_ALLOW_NUL, NULL);

	if (!json_is_object(line))
		return -EINVAL;

	int64_t onset_ns = time_of(line, "onset_ns");

	append_labels(ret_labels, line, alert);
	append_annotations(ret_rest, line);
	append_time(ret_rest, "startsAt", onset_ns != 0 ? MIN(onset_ns, wall_ns) : wall_ns);
	if (!alert->open)
		append_time(ret_rest, "endsAt", wall_ns);
	if (page_url) {
		buf_append_str(ret_rest, ",\"generatorURL\":");
		json_append_string(ret_rest, SLICE_STR(page_url));
	}
	return buf_error(ret_labels) < 0 ? -ENOMEM : buf_error(ret_rest);
}

void alertmanager_append(struct buf *body, const char *labels, struct slice rest, int64_t ends_ns)
{
	buf_append_u8(body, body->len == 0 ? '[' : ',');
	buf_append_str(body, "{\"labels\":");
	buf_append_str(body, labels);
	buf_append(body, rest.data, rest.len);
	if (ends_ns != 0)
		append_time(body, "endsAt", ends_ns);
	buf_append_u8(body, '}');
}
