/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * The flow table: a set-associative cache that keeps the large flows under a flood of small ones,
 * in fixed memory.
 *
 * A flow that finds its set full takes the place of the smallest flow in it with probability 1 /
 * (smallest + 1) and inherits its rank (RAP: Ben Basat, Einziger, Friedman, Kassner, "Randomized
 * Admission Policy", 2016), so that a large flow soon gets in and small ones rarely throw anything
 * out. Packets that leave with an evicted flow, and those that are not admitted, are added to
 * `other`: together with the table they are all analysed packets.
 */
#ifndef TELEGEN_FLOW_H
#define TELEGEN_FLOW_H

#include "config.h"
#include "count.h"
#include "maps.h"

union flow_words {
	struct flow_key key;
	__u32 u32[HASH_WORDS];
	__u64 u64[HASH_WORDS / 2];
};

/*
 * Multilinear-HM (Lemire, Kaser, "Strongly universal string hashing is fast", 2014): the upper 32
 * bits are strongly universal under random keys, so that nobody can aim flows at one set.
 */
static __always_inline __u64 flow_hash(const union flow_words *words)
{
	__u64 hash = config.hash_keys[HASH_WORDS];

#pragma unroll
	for (__u32 i = 0; i < HASH_WORDS; i += 2)
		hash += (config.hash_keys[i] + words->u32[i]) *
			(config.hash_keys[i + 1] + words->u32[i + 1]);
	return hash;
}

static __always_inline bool flow_equal(const struct flow *flow, const union flow_words *words)
{
	const union flow_words *other = (const union flow_words *)&flow->key;

#pragma unroll
	for (__u32 i = 0; i < HASH_WORDS / 2; i++)
		if (other->u64[i] != words->u64[i])
			return false;
	return true;
}

/* Gives way to a flow that begins with this packet. The order of the stores is the reader's, see
 * struct flow_set. */
static __always_inline void flow_admit(struct flow_set *set, __u64 way,
				       const union flow_words *words, __u32 tag, __u64 base,
				       const struct weight *weight, __u32 tick)
{
	struct flow *flow;

	asm volatile("%0 &= %1" : "+r"(way) : "i"(FLOW_WAYS - 1));
	flow = &set->flows[way];
	set->version[way]++;
	asm volatile("" ::: "memory");
	flow->key = words->key;
	flow->bytes = weight->bytes;
	flow->base = base;
	flow->first = tick;
	flow->last = tick;
	set->rank[way] = base + weight->packets;
	set->tag[way] = tag;
	asm volatile("" ::: "memory");
	set->version[way]++;
}

static __always_inline bool flow_hit(struct flow_set *set, const union flow_words *words, __u32 tag,
				     const struct weight *weight, __u32 tick)
{
#pragma unroll
	for (int way = 0; way < FLOW_WAYS; way++) {
		struct flow *flow = &set->flows[way];

		if (set->tag[way] != tag || !flow_equal(flow, words))
			continue;
		set->rank[way] += weight->packets;
		flow->bytes += weight->bytes;
		flow->last = tick;
		return true;
	}
	return false;
}

/* True with probability packets / (rank + packets). */
static __always_inline bool flow_wins(__u64 rank, __u64 packets)
{
	__u64 of = rank + packets;

	if (of >> 32)
		of = 0xffffffff;
	return (bpf_get_prandom_u32() * of) >> 32 < packets;
}

static __always_inline void flow_miss(struct cpu *cpu, struct flow_set *set,
				      const union flow_words *words, __u32 tag,
				      const struct weight *weight, __u32 tick)
{
	__u64 smallest = set->rank[0], way = 0;
	struct flow *leaving;

#pragma unroll
	for (int i = 1; i < FLOW_WAYS; i++) {
		if (set->rank[i] < smallest) {
			smallest = set->rank[i];
			way = i;
		}
	}
	/* A free way has rank 0, and no other has. */
	if (!smallest) {
		flow_admit(set, way, words, tag, 0, weight, tick);
		return;
	}
	if (!flow_wins(smallest, weight->packets)) {
		counter_add(&cpu->other, weight);
		return;
	}
	asm volatile("%0 &= %1" : "+r"(way) : "i"(FLOW_WAYS - 1));
	leaving = &set->flows[way];
	cpu->other.packets += smallest - leaving->base;
	cpu->other.bytes += leaving->bytes;
	cpu->evicted++;
	flow_admit(set, way, words, tag, smallest, weight, tick);
}

static __always_inline void count_flow(struct cpu *cpu, __u32 cpu_id, const struct frame *frame,
				       const struct packet *packet, const struct weight *weight,
				       __u64 now)
{
	__u32 tick = (now - config.opened_ns) >> FLOW_TICK_SHIFT;
	union flow_words words = {};
	struct flow_set *set;
	__u32 index, tag;
	__u64 hash;

	if (!packet->ip_version) {
		counter_add(&cpu->non_ip, weight);
		return;
	}
	parse_addresses(frame, packet, words.key.src, words.key.dst);
	words.key.sport = packet->sport;
	words.key.dport = packet->dport;
	words.key.vlan = packet->vlan;
	words.key.proto = packet->proto;
	words.key.version = packet->ip_version;
	hash = flow_hash(&words);
	tag = hash >> 8 | 1; /* the index takes the highest bits; 0 is a free way's */
	index = cpu_id * config.sets_per_cpu + ((hash >> 32) * config.sets_per_cpu >> 32);
	set = bpf_map_lookup_elem(&telegen_flows, &index);
	if (!set) {
		counter_add(&cpu->other, weight); /* cannot happen, and would still reconcile */
		return;
	}
	if (!flow_hit(set, &words, tag, weight, tick))
		flow_miss(cpu, set, &words, tag, weight, tick);
}

#endif
