/* The codec as a filter, for test_proto.py: a line in, a line out.
 *
 *     telemetry HEX   the message read and written again:  "HEX CANONICAL JSON", or "error ERRNO"
 *     json TEXT       its bytes under the open key:        "HEX", or "error SENTENCE"
 *     envelope HEX    read and written again:              "HEX", or "error ERRNO"
 *     region HEX      RegionData, likewise
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/envelope.h"
#include "codec/region_data.h"
#include "codec/telemetry.h"

static void unhex(struct buf *ret, const char *text)
{
	unsigned byte;

	buf_reset(ret);
	for (; sscanf(text, "%2x", &byte) == 1; text += 2)
		buf_append_u8(ret, (uint8_t)byte);
}

static void print_hex(const struct buf *b)
{
	for (size_t i = 0; i < b->len; i++)
		printf("%02x", b->data[i]);
}

static int telemetry(struct slice in, struct buf *out)
{
	CLEANUP(buf_done) struct buf json = BUF_INIT;
	struct telemetry t;
	int error = telemetry_parse(&t, in.data, in.len);

	if (error < 0)
		return error;
	telemetry_append(out, &t);
	telemetry_append_json(&json, &t, false);
	print_hex(out);
	printf(" %d %s\n", t.canonical, buf_cstr(&json));
	return 0;
}

static int rewrite(const char *kind, struct slice in, struct buf *out)
{
	CLEANUP(buf_done) struct buf memory = BUF_INIT;
	struct envelope e;
	struct region_data d;
	int error;

	if (strcmp(kind, "envelope") == 0) {
		error = envelope_read(&e, in);
		if (error == 0)
			envelope_append(out, &e);
	} else {
		error = region_data_read(&d, in, &memory);
		if (error == 0)
			region_data_append(out, &d);
	}
	if (error == 0) {
		print_hex(out);
		putchar('\n');
	}
	return error;
}

static void serve(const char *kind, const char *text)
{
	CLEANUP(buf_done) struct buf in = BUF_INIT, out = BUF_INIT;
	char sentence[128] = "";
	int error;

	if (strcmp(kind, "json") == 0) {
		if (telemetry_from_json(&out, text, strlen(text), &siphash_open_key, sentence) < 0) {
			printf("error %s\n", sentence);
		} else {
			print_hex(&out);
			putchar('\n');
		}
		return;
	}
	buf_append_u8(&in, 0);
	unhex(&in, text);
	error = strcmp(kind, "telemetry") == 0 ? telemetry(buf_slice(&in), &out) : rewrite(kind, buf_slice(&in), &out);
	if (error < 0)
		printf("error %d\n", -error);
}

int main(void)
{
	static char line[1 << 16];

	while (fgets(line, sizeof(line), stdin)) {
		char *text = strchr(line, ' ');

		line[strcspn(line, "\n")] = 0;
		if (!text)
			return 2;
		*text++ = 0;
		serve(line, text);
		fflush(stdout);
	}
	return 0;
}
