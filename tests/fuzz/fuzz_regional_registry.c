/* The registry's CSV: no text crashes it; what it takes is found again. */
#include "base/macros.h"
#include "regional/registry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct registry_error error;
	struct registry *r = NULL;

	if (registry_parse(&r, "fuzz.csv", SLICE(data, size), &error) < 0)
		must(error.text[0] != 0);
	registry_free(r);
	return 0;
}
