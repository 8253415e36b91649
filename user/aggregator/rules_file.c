#include "aggregator/rules_file.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"

#define LOOK_EVERY_NS (2 * NS_PER_S)

int rules_file_open(struct rules_file *f, const char *path, struct rules_error *ret_error)
{
	*f = (struct rules_file){ .path = path };
	if (*path && stat(path, &f->seen) < 0)
		memset(&f->seen, 0, sizeof(f->seen));
	return rules_load(&f->rules, path, ret_error);
}

void rules_file_close(struct rules_file *f)
{
	rules_free(f->rules);
	f->rules = NULL;
}

static bool is_same(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

void rules_file_look(struct rules_file *f, int64_t now_ns)
{
	struct alert_rules *rules;
	struct rules_error error;
	struct stat now;

	if (!*f->path || now_ns - f->looked_ns < LOOK_EVERY_NS)
		return;
	f->looked_ns = now_ns;
	if (stat(f->path, &now) < 0 || is_same(&now, &f->seen))
		return;
	f->seen = now;
	if (rules_load(&rules, f->path, &error) < 0) {
		log_error("the new alert rules are broken, the old ones stay", F_STR("reason", error.text));
		return;
	}
	rules_free(f->rules);
	f->rules = rules;
	log_info("new alert rules", F_STR("path", f->path), F_U64("rules", rules->n_rules),
		 F_U64("maintenance", rules->n_maintenance));
}
