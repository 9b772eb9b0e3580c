/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * Histograms over bounds that user space chose: lengths of all packets by a table, distances in
 * time of some by a search.
 */
#ifndef TELEGEN_HISTOGRAM_H
#define TELEGEN_HISTOGRAM_H

#include "config.h"
#include "count.h"

static __always_inline __u64 size_bucket(__u64 size)
{
	if (size >= SIZES)
		return SIZE_LAST;
	keep_below(size, SIZES - 1);
	return size_buckets[size];
}

static __always_inline void count_one_size(struct cpu *cpu, __u64 size, __u64 packets)
{
	__u64 bucket = size_bucket(size);

	keep_below(bucket, SIZE_BUCKETS - 1);
	cpu->size_counts[bucket] += packets;
}

static __always_inline void count_size(struct cpu *cpu, const struct weight *weight)
{
	__u64 others = weight->packets - 1;

	if (others)
		count_one_size(cpu, weight->packet_size, others);
	count_one_size(cpu, weight->bytes - others * weight->packet_size, 1);
}

/* The first bucket whose upper bound is not below value; buckets is a power of two and the last
 * bound the largest value. */
static __always_inline __u64 bucket_of(const volatile __u64 *bounds, __u64 buckets, __u64 value)
{
	__u64 bucket = 0;

#pragma unroll
	for (__u64 step = buckets / 2; step; step /= 2)
		if (value > bounds[bucket + step - 1])
			bucket += step;
	keep_below(bucket, buckets - 1);
	return bucket;
}

/*
 * The distance between a packet and the next one on this CPU. Of one pair in config.gap_rate:
 * reading the clock costs more than everything else that is done for a packet. Called for the two
 * packets of a pair.
 */
static __always_inline void count_gap(struct cpu *cpu)
{
	__u64 now = read_clock_ns(cpu);

	if (!cpu->gap_start_ns) {
		cpu->gap_start_ns = now;
		return;
	}
	now -= cpu->gap_start_ns;
	cpu->gap_sum += now;
	cpu->gap_counts[bucket_of(config.gap_bounds, GAP_BUCKETS, now)]++;
	cpu->gap_start_ns = 0;
	cpu->gap_skip = draw_distance(cpu, config.gap_rate);
}

/* Whether this packet is of a pair: gap_skip is 1 from the first packet of it to its second. */
static __always_inline bool gap_due(struct cpu *cpu)
{
	__u32 skip = cpu->gap_skip;

	if (skip <= 1)
		return true;
	cpu->gap_skip = skip - 1;
	return false;
}

#endif
