/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * The maps. Arrays keyed by CPU rather than per-CPU arrays: user space maps them into its memory
 * and reads without a system call, at the same cost for the program. User space sets max_entries
 * before the load.
 */
#ifndef TELEGEN_MAPS_H
#define TELEGEN_MAPS_H

#include "platform.h"

/* One entry per possible CPU. */
array_map(telegen_cpus, struct cpu, BPF_F_MMAPABLE);

/* config.sets_per_cpu entries per possible CPU, those of CPU 0 first. */
array_map(telegen_flows, struct flow_set, BPF_F_MMAPABLE);

/* One entry per entry of telegen_flows, if config.segments. */
array_map(telegen_segments, struct segment_set, 0);

#endif
