#include "gateway/gateway.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "config/master.h"

static const char *const gateway_verdict_names[SLUICE_VERDICT_COUNT] = {
#define X(name, label, fate, sentence) label,
	SLUICE_VERDICTS(X)
#undef X
};

#define METRICS_DEF "gateway/gateway_metrics.def"
static const struct metric_desc descs[GATEWAY_METRIC_COUNT] = {
#include "observe/metric_descs.h"
};
#undef METRICS_DEF

int gateway_metrics_new(struct metrics **ret)
{
	return metrics_new(ret, "gateway", descs, ARRAY_SIZE(descs));
}

static int load_master(struct sluice_master_key *ret, const char *path, struct config_error *ret_error)
{
	struct siphash_key key;
	int r = master_key_read(&key, path, ret_error);

	if (r == 0)
		*ret = (struct sluice_master_key){ .k0 = key.k0, .k1 = key.k1, .present = 1 };
	return r;
}

int gateway_keys_load(struct admit_keys *ret, const struct settings *s, struct config_error *ret_error)
{
	struct admit_keys keys = {
		.keyed = s->auth_mode == AUTH_KEYED,
		.content_format = (uint16_t)s->gateway_content_format,
		.region_len = (uint8_t)strlen(s->node_region),
	};
	int r = 0;

	if (strlen(s->node_region) > SLUICE_REGION_MAX) {
		snprintf(ret_error->text, sizeof(ret_error->text), "node.region is longer than %d bytes", SLUICE_REGION_MAX);
		return -EINVAL;
	}
	memcpy(keys.region, s->node_region, keys.region_len);
	if (keys.keyed)
		r = load_master(&keys.own[0], s->auth_master_file, ret_error);
	if (r == 0 && keys.keyed && s->auth_previous_file[0])
		r = load_master(&keys.own[1], s->auth_previous_file, ret_error);
	if (r < 0)
		return r;
	keys.own[0].epoch = 1;
	*ret = keys;
	return 0;
}
