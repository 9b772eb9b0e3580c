/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * The maps. Arrays keyed by CPU rather than per-CPU arrays: user space maps them into its memory
 * and reads without a system call, at the same cost for the program. User space sets max_entries
 * before the load.
 */
#ifndef TELEGEN_MAPS_H
#define TELEGEN_MAPS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "types.h"

/* One entry per possible CPU. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct cpu);
} telegen_cpus SEC(".maps");

/* config.sets_per_cpu entries per possible CPU, those of CPU 0 first. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct flow_set);
} telegen_flows SEC(".maps");

/* One entry per entry of telegen_flows, if config.segments. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct segment_set);
} telegen_segments SEC(".maps");

#endif
