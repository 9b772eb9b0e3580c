/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * Histograms over fixed bounds, which user space chose.
 */
#ifndef TELEGEN_HISTOGRAM_H
#define TELEGEN_HISTOGRAM_H

#include "config.h"
#include "count.h"

/* The first bucket whose upper bound is not below value; buckets is a power of two and the last
 * bound the largest value. */
static __always_inline __u64 bucket_of(const volatile __u64 *bounds, __u64 buckets, __u64 value)
{
	__u64 bucket = 0;

#pragma unroll
	for (__u64 step = buckets / 2; step; step /= 2)
		if (value > bounds[bucket + step - 1])
			bucket += step;
	asm volatile("%0 &= %1" : "+r"(bucket) : "i"(buckets - 1));
	return bucket;
}

static __always_inline void count_size(struct cpu *cpu, const struct weight *weight)
{
	__u64 last = weight->bytes;

	cpu->size_sum += weight->bytes;
	if (weight->packets > 1) {
		__u64 others = weight->packets - 1;

		cpu->size_counts[bucket_of(config.size_bounds, SIZE_BUCKETS,
					   weight->packet_size)] += others;
		last -= others * weight->packet_size;
	}
	cpu->size_counts[bucket_of(config.size_bounds, SIZE_BUCKETS, last)]++;
}

/* The time since the packet before this one, on this CPU, of those that passed the filter. */
static __always_inline void count_gap(struct cpu *cpu, __u64 now)
{
	__u64 gap = now - cpu->previous_ns;

	if (cpu->previous_ns) {
		cpu->gap_sum += gap;
		cpu->gap_counts[bucket_of(config.gap_bounds, GAP_BUCKETS, gap)]++;
	}
	cpu->previous_ns = now;
}

#endif
