/* A region's master key, from a file that only its owner can read: one line of 32 hex digits, the sixteen bytes of
 * the key in order.  Device keys are derived from it (CONTRACTS, Wire).
 */
#pragma once

#include "bpf/shared/siphash.h"
#include "config/config.h"

/* 0; -EPERM when others may read the file; -EINVAL; errno of open(2); with a sentence. */
int master_key_read(struct siphash_key *ret, const char *path, struct config_error *ret_error);
