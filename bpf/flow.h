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
#include "distinct.h"
#include "facts.h"
#include "maps.h"
#include "segment.h"

/* struct flow_key, in registers. */
struct flow_words {
	__u64 words[FLOW_WORDS];
};

/* The two ports are swapped into host order at once: the key has the source's first, as the packet.
 */
static __always_inline __u64 last_word(__u32 ports, int vlan, __u8 proto, __u8 version)
{
	ports = bpf_ntohl(ports);
	ports = ports << 16 | ports >> 16;
	return ports | (__u64)(vlan == UNTAGGED ? 0 : vlan) << 32 | (__u64)proto << 48 |
	       (__u64)version << 56;
}

static __always_inline struct flow_words flow_of(const struct frame *frame,
						 const struct facts *facts)
{
	struct addresses addresses = addresses_of(frame, facts);
	__u32 ports = facts->ports_offset ? ports_of(frame, facts) : 0;

	return (struct flow_words){
		{addresses.src[0], addresses.src[1], addresses.dst[0], addresses.dst[1],
		 last_word(ports, outer_vlan(frame), facts->proto, ip_version_of(facts))}};
}

/* The key's words that differ between flows of IPv4: the others are 0. */
#define FLOW_WORDS_V4 ((1 << 1) | (1 << 3) | (1 << 4))
#define FLOW_WORDS_V6 0x1f

/*
 * Multilinear-HM (Lemire, Kaser, "Strongly universal string hashing is fast", 2014) over the halves
 * of those of the key's words that are in the mask: the upper 32 bits are strongly universal under
 * random keys, so that nobody can aim flows at one set. Flows of different masks differ in the last
 * word, which is in both.
 */
static __always_inline __u64 flow_hash(const struct flow_words *flow, __u32 mask)
{
	__u64 hash = config.hash_keys[2 * FLOW_WORDS];

#pragma unroll
	for (__u32 i = 0; i < FLOW_WORDS; i++)
		if (mask & 1 << i)
			hash += (config.hash_keys[2 * i] + (__u32)flow->words[i]) *
				(config.hash_keys[2 * i + 1] + (flow->words[i] >> 32));
	return hash;
}

/*
 * A permutation (that of MurmurHash3's end, Appleby), so that what is strongly universal stays so.
 * Strongly universal is about pairs only: without it, flows of neighbouring addresses are evenly
 * spaced in the table, and in one of 250 tables five of sixteen share a set.
 */
static __always_inline __u32 scatter(__u32 hash)
{
	hash = (hash ^ hash >> 16) * 0x85ebca6b;
	hash = (hash ^ hash >> 13) * 0xc2b2ae35;
	return hash ^ hash >> 16;
}

static __always_inline bool flow_equal(const struct flow *flow, const struct flow_words *other)
{
	const __u64 *words = (const __u64 *)&flow->key;
	__u64 difference = 0;

#pragma unroll
	for (__u32 i = 0; i < FLOW_WORDS; i++)
		difference |= words[i] ^ other->words[i];
	return !difference;
}

/* Gives way to a flow that begins with this packet. The order of the stores is the reader's, see
 * struct flow_set. */
static __always_inline void flow_admit(struct flow_set *set, __u64 way,
				       const struct flow_words *words, __u32 tag, __u64 base,
				       const struct weight *weight, __u32 tick)
{
	struct flow *flow;

	keep_below(way, FLOW_WAYS - 1);
	flow = &set->flows[way];
	set->version[way]++;
	asm volatile("" ::: "memory");
	*(struct flow_words *)&flow->key = *words;
	flow->bytes = weight->bytes;
	flow->base = base;
	flow->first = tick;
	flow->last = tick;
	set->rank[way] = base + weight->packets;
	set->tag[way] = tag;
	asm volatile("" ::: "memory");
	set->version[way]++;
}

/* No way: the flow is not in its set. */
#define NO_WAY FLOW_WAYS

/* The flow's way, counted. */
static __always_inline __u64 flow_hit(struct flow_set *set, const struct flow_words *words,
				      __u32 tag, const struct weight *weight, __u32 tick)
{
#pragma unroll
	for (int way = 0; way < FLOW_WAYS; way++) {
		struct flow *flow = &set->flows[way];

		if (set->tag[way] != tag || !flow_equal(flow, words))
			continue;
		set->rank[way] += weight->packets;
		flow->bytes += weight->bytes;
		flow->last = tick;
		return way;
	}
	return NO_WAY;
}

/* True with probability packets / (rank + packets). */
static __always_inline bool flow_wins(__u64 rank, __u64 packets)
{
	__u64 of = rank + packets;

	if (of >> 32)
		of = 0xffffffff;
	return (bpf_get_prandom_u32() * of) >> 32 < packets;
}

/* The way that the flow got, if it got one. */
static __always_inline __u64 flow_miss(struct cpu *cpu, struct flow_set *set,
				       const struct flow_words *words, __u32 tag,
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
		return way;
	}
	if (!flow_wins(smallest, weight->packets)) {
		counter_add(&cpu->other, weight);
		return NO_WAY;
	}
	keep_below(way, FLOW_WAYS - 1);
	leaving = &set->flows[way];
	cpu->other.packets += smallest - leaving->base;
	cpu->other.bytes += leaving->bytes;
	cpu->evicted++;
	flow_admit(set, way, words, tag, smallest, weight, tick);
	return way;
}

/* The TCP packet of cpu->facts and cpu->weight, whose flow is in this way; fresh: since this
 * packet. */
static __always_inline void follow(struct __sk_buff *skb, place at, struct cpu *cpu, __u32 index,
				   __u64 way, bool fresh)
{
	struct segment_set *set = bpf_map_lookup_elem(&telegen_segments, &index);
	struct frame frame = frame_in(skb, at);
	struct segment *known;

	if (!set || way == NO_WAY) {
		cpu->segments.untracked += cpu->weight.packets;
		return;
	}
	keep_below(way, FLOW_WAYS - 1);
	known = &set->ways[way];
	if (fresh)
		known->started = 0;
	cpu->segments.tracked += cpu->weight.packets;
	count_segment(&cpu->segments, known, &frame, &cpu->facts);
}

/*
 * The time of a flow's packet, in ticks since the tap was opened. The clock is read once per jiffy:
 * it costs more than all the rest, and a flow's times are told in milliseconds.
 */
static __always_inline __u32 tick_of(struct cpu *cpu)
{
	__u64 jiffies = bpf_jiffies64();

	if (config.untimed)
		return 0;
	if (cpu->jiffies != jiffies) {
		cpu->jiffies = jiffies;
		cpu->tick = (bpf_ktime_get_ns() - config.opened_ns) >> FLOW_TICK_SHIFT;
	}
	return cpu->tick;
}

/* The flow of cpu->facts, into cpu->flow_words. */
static __always_inline void note_flow(struct __sk_buff *skb, place at, struct cpu *cpu)
{
	struct facts facts = cpu->facts;
	struct frame frame = frame_in(skb, at);
	struct flow_words flow = flow_of(&frame, &facts);

	*(struct flow_words *)cpu->flow_words = flow;
}

/*
 * The packet of cpu->facts and cpu->weight, in its flow. What is known of it goes through memory,
 * so that the verifier sees one way through this and not one for each kind of packet.
 */
static __always_inline void count_flow(struct __sk_buff *skb, place at, struct cpu *cpu)
{
	const struct weight *weight = &cpu->weight;
	struct flow_words words;
	struct flow_set *set;
	__u32 index, tag, mixed, tick;
	__u64 hash, way;
	bool fresh;

	if (!cpu->facts.ip_offset) {
		counter_add(&cpu->non_ip, weight);
		return;
	}
	note_flow(skb, at, cpu);
	forget();
	words = *(const struct flow_words *)cpu->flow_words;
	hash = ip_version_of(&cpu->facts) == 4 ? flow_hash(&words, FLOW_WORDS_V4)
					       : flow_hash(&words, FLOW_WORDS_V6);
	tag = hash >> 8 | 1; /* the index takes the highest bits; 0 is a free way's */
	mixed = scatter(hash >> 32);
	index = bpf_get_smp_processor_id() * config.sets_per_cpu +
		((__u64)mixed * config.sets_per_cpu >> 32);
	set = bpf_map_lookup_elem(&telegen_flows, &index);
	if (!set) {
		counter_add(&cpu->other, weight); /* cannot happen, and would still reconcile */
		return;
	}
	tick = tick_of(cpu);
	way = flow_hit(set, &words, tag, weight, tick);
	fresh = way == NO_WAY;
	if (fresh) {
		way = flow_miss(cpu, set, &words, tag, weight, tick);
		if (config.distinct)
			count_distinct(cpu, mixed);
	}
	if (config.segments && is_whole_tcp(&cpu->facts))
		follow(skb, at, cpu, index, way, fresh);
}

#endif
