/* The maps of the program.  Keys and values have BTF, so that `bpftool map dump` names every field; names are of at
 * most 15 characters.  Each can be rebuilt at any time.  Layouts and meanings: bpf/shared/contract.h.
 */
#pragma once

#include "bpf/shared/admit.h"
#include "bpf/shared/contract.h"
#include "bpf/shared/verdict.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, struct sluice_service_key);
	__type(value, struct sluice_service);
} services SEC(".maps");

/* Mapped by the gateway, which writes single fields: the heartbeat never runs over an operator's kill switch. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sluice_config);
} config SEC(".maps");

/* The only map with key material: never pinned. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct sluice_master_key);
} keys SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SLUICE_LIMITS);
	__type(key, __u32);
	__type(value, struct sluice_limit);
} limits SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct sluice_source_key);
	__type(value, __u32);
} sources SEC(".maps");

/* The loader sets max_entries (a power of two) and durable_shift with it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 262144);
	__type(key, __u32);
	__type(value, struct sluice_durable_bucket);
} durable SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SLUICE_VERDICT_COUNT);
	__type(key, __u32);
	__type(value, __u64);
} verdicts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SLUICE_VERDICT_COUNT);
	__type(key, __u32);
	__type(value, __u64);
} shadowed SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} received SEC(".maps");

/* Mapped by the gateway too: what it has taken stands beside what was steered, across its restarts. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, SLUICE_QUEUES_MAX);
	__type(key, __u32);
	__type(value, struct sluice_queue);
} queues SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, SLUICE_QUEUES_MAX);
	__type(key, __u32);
	__type(value, __u32);
} xsks SEC(".maps");

/* What is too large for the stack.  A program runs to its end on one CPU, so each CPU has one. */
struct scratch {
	__u8 message[SLUICE_BUFFER_SIZE];
	__u8 answer[SLUICE_ANSWER_MAX];
	struct admit_keys keys;
	struct admission admission;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} scratch SEC(".maps");
