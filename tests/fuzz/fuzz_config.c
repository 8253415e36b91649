/* Any text is parsed or refused with a place and a sentence; what was parsed is shown and reads back the same. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *show(const struct settings *s, size_t *ret_len)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, ret_len);

	config_show(s, out);
	fclose(out);
	return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const programs[] = { NULL, "gateway", "regional", "aggregator" };
	struct settings s, again;
	struct config_error e = { "" };
	size_t len, len_again;

	if (config_parse(&s, "fuzz.yaml", (const char *)data, size, &e) < 0) {
		must(!strncmp(e.text, "fuzz.yaml:", 10) && strlen(e.text) > 20);
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(programs); i++)
		config_check(&s, programs[i], &e);

	char *text = show(&s, &len);

	must(config_parse(&again, "shown.yaml", text, len, &e) == 0);

	char *text_again = show(&again, &len_again);

	must(len == len_again && !memcmp(text, text_again, len));
	free(text);
	free(text_again);
	config_done(&s);
	config_done(&again);
	return 0;
}
