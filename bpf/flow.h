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

/* The two ports are swapped into host order at once: the key has the source's first, as the packet.
 */
static __always_inline __u64 last_word(__u32 ports, int vlan, __u8 proto, __u8 version)
{
	ports = bpf_ntohl(ports);
	ports = ports << 16 | ports >> 16;
	return ports | (__u64)(vlan == UNTAGGED ? 0 : vlan) << 32 | (__u64)proto << 48 |
	       (__u64)version << 56;
}

/*
 * A pair of 32-bit words under the hash keys from `key` on. The sum of such products is
 * Multilinear-HM (Lemire, Kaser, "Strongly universal string hashing is fast", 2014): its upper 32
 * bits are strongly universal under random keys, so that nobody can aim flows at one set.
 */
static __always_inline __u64 hash_pair(int key, __u32 one, __u32 other)
{
	return (config.hash_keys[key] + one) * (config.hash_keys[key + 1] + other);
}

static __always_inline __u64 hash_word(int word, __u64 value)
{
	return hash_pair(2 * word, value, value >> 32);
}

/*
 * Writes a packet's struct flow_key to words, and returns its hash. Of IPv4 the two addresses are
 * all that differs in the first four words; flows of different versions differ in the last, which
 * is hashed alike.
 */
static __always_inline __u64 flow_of(const struct frame *frame, facts facts, __u64 *words)
{
	struct addresses addresses = addresses_of(frame, facts);
	__u32 ports = ports_offset_of(facts) ? ports_of(frame, facts) : 0;
	__u64 last =
		last_word(ports, outer_vlan(frame, facts), proto_of(facts), ip_version_of(facts));
	__u64 hash = config.hash_keys[2 * FLOW_WORDS] + hash_word(FLOW_WORDS - 1, last);

	words[0] = addresses.src[0];
	words[1] = addresses.src[1];
	words[2] = addresses.dst[0];
	words[3] = addresses.dst[1];
	words[4] = last;
	if (facts & CELL_IPV6)
		return hash + hash_word(0, addresses.src[0]) + hash_word(1, addresses.src[1]) +
		       hash_word(2, addresses.dst[0]) + hash_word(3, addresses.dst[1]);
	return hash + hash_pair(0, addresses.src[1] >> 32, addresses.dst[1] >> 32);
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

static __always_inline bool flow_equal(const struct flow *flow, const __u64 *words)
{
	const __u64 *key = (const __u64 *)&flow->key;
	__u64 difference = 0;

#pragma unroll
	for (__u32 i = 0; i < FLOW_WORDS; i++)
		difference |= key[i] ^ words[i];
	return !difference;
}

/* To be copied as words. */
struct flow_words {
	__u64 words[FLOW_WORDS];
};

/* Gives way to a flow that begins with this packet. The order of the stores is the reader's, see
 * struct flow_set. */
static __always_inline void flow_admit(struct flow_set *set, __u64 way, const __u64 *words,
				       __u32 tag, __u64 base, const struct weight *weight,
				       __u32 tick)
{
	struct flow *flow;

	keep_below(way, FLOW_WAYS - 1);
	flow = &set->flows[way];
	set->version[way]++;
	forget();
	*(struct flow_words *)&flow->key = *(const struct flow_words *)words;
	flow->bytes = weight->bytes;
	flow->base = base;
	flow->first = tick;
	flow->last = tick;
	set->rank[way] = base + weight->packets;
	set->tag[way] = tag;
	forget();
	set->version[way]++;
}

/* No way: the flow is not in its set. */
#define NO_WAY FLOW_WAYS

/* 1 if the two are equal, else 0, and no branch for it. */
static __always_inline __u64 is_same(__u32 one, __u32 other)
{
	__u64 difference = one ^ other;

	obscure(difference); /* the compiler would see through it, and branch */
	return (difference - 1) >> 63;
}

/* The way of the flow of cpu->flow_words by trying them all, for two flows of one set with one tag.
 */
function __u64 flow_search(struct cpu *cpu, struct flow_set *set, __u32 tag)
{
#pragma unroll
	for (int way = 0; way < FLOW_WAYS; way++)
		if (set->tag[way] == tag && flow_equal(&set->flows[way], cpu->flow_words))
			return way;
	return NO_WAY;
}

/*
 * The flow's way. It is computed from the tags: which of four a flow has is what no branch
 * predictor can know. If several ways have the tag, what is computed may be none of them.
 */
static __always_inline __u64 flow_find(struct cpu *cpu, struct flow_set *set, __u32 tag)
{
	__u64 second = is_same(set->tag[1], tag), third = is_same(set->tag[2], tag),
	      fourth = is_same(set->tag[3], tag);
	__u64 way = second | third << 1 | fourth << 1 | fourth;

	keep_below(way, FLOW_WAYS - 1);
	if (set->tag[way] == tag && flow_equal(&set->flows[way], cpu->flow_words))
		return way;
	return way || set->tag[0] == tag ? flow_search(cpu, set, tag) : NO_WAY;
}

/* One more packet of the flow in this way. */
static __always_inline void flow_hit(struct flow_set *set, __u64 way, const struct weight *weight,
				     __u32 tick)
{
	struct flow *flow;

	keep_below(way, FLOW_WAYS - 1);
	flow = &set->flows[way];
	set->rank[way] += weight->packets;
	flow->bytes += weight->bytes;
	flow->last = tick;
}

/* True with probability packets / (rank + packets). */
static __always_inline bool flow_wins(struct cpu *cpu, __u64 rank, __u64 packets)
{
	__u64 of = rank + packets;

	if (of >> 32)
		of = 0xffffffff;
	return (random_number(cpu) * of) >> 32 < packets;
}

/* The way that the flow got, if it got one. */
static __always_inline __u64 flow_miss(struct cpu *cpu, struct flow_set *set, __u32 tag,
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
		flow_admit(set, way, cpu->flow_words, tag, 0, weight, tick);
		return way;
	}
	if (!flow_wins(cpu, smallest, weight->packets)) {
		counter_add(&cpu->other, weight);
		return NO_WAY;
	}
	keep_below(way, FLOW_WAYS - 1);
	leaving = &set->flows[way];
	cpu->other.packets += smallest - leaving->base;
	cpu->other.bytes += leaving->bytes;
	cpu->evicted++;
	flow_admit(set, way, cpu->flow_words, tag, smallest, weight, tick);
	return way;
}

/* The TCP packet of cpu->facts and cpu->weight, whose flow is in this way; fresh: since this
 * packet. */
static __always_inline void follow(struct __sk_buff *skb, place at, struct cpu *cpu, __u32 index,
				   __u64 way, bool fresh, bool linear)
{
	struct segment_set *set = element_of(telegen_segments, index);
	struct frame frame = frame_in(skb, at);
	struct segment *known;

	if (!set || way == NO_WAY) {
		cpu->segments.untracked += cpu->weight.packets;
		return;
	}
	frame.linear = linear;
	keep_below(way, FLOW_WAYS - 1);
	known = &set->ways[way];
	if (fresh)
		known->started = 0;
	cpu->segments.tracked += cpu->weight.packets;
	count_segment(&cpu->segments, known, &frame, cpu->facts);
}

/*
 * The time of a flow's packet, in ticks since the tap was opened. The clock is read once per jiffy:
 * it costs more than all the rest, and a flow's times are told in milliseconds.
 */
static __always_inline __u32 tick_of(struct cpu *cpu)
{
	__u64 jiffies = read_jiffies(cpu);

	if (config.untimed)
		return 0;
	if (cpu->jiffies != jiffies) {
		cpu->jiffies = jiffies;
		cpu->tick = (read_clock_ns(cpu) - config.opened_ns) >> FLOW_TICK_SHIFT;
	}
	return cpu->tick;
}

/* The flow of cpu->facts, into cpu->flow_words; its hash. */
static __always_inline __u64 note_flow(struct __sk_buff *skb, place at, struct cpu *cpu,
				       bool linear)
{
	struct frame frame = frame_in(skb, at);

	frame.linear = linear;
	return flow_of(&frame, cpu->facts, cpu->flow_words);
}

/*
 * The packet of cpu->facts and cpu->weight, in its flow. What is known of it goes through memory,
 * so that the verifier sees one way through this and not one for each kind of packet.
 */
static __always_inline void count_flow(struct __sk_buff *skb, place at, struct cpu *cpu,
				       bool linear)
{
	const struct weight *weight = &cpu->weight;
	struct flow_set *set;
	__u32 index, tag, mixed, tick;
	__u64 hash, way;
	bool fresh;

	if (!ip_offset_of(cpu->facts)) {
		counter_add(&cpu->non_ip, weight);
		return;
	}
	hash = note_flow(skb, at, cpu, linear);
	tag = hash >> 8 | 1; /* the index takes the highest bits; 0 is a free way's */
	mixed = scatter(hash >> 32);
	index = cpu_number() * config.sets_per_cpu + ((__u64)mixed * config.sets_per_cpu >> 32);
	set = element_of(telegen_flows, index);
	if (!set) {
		counter_add(&cpu->other, weight); /* cannot happen, and would still reconcile */
		return;
	}
	tick = tick_of(cpu);
	way = flow_find(cpu, set, tag);
	fresh = way == NO_WAY;
	if (fresh) {
		way = flow_miss(cpu, set, tag, weight, tick);
		if (config.distinct)
			count_distinct(cpu, mixed);
	} else {
		flow_hit(set, way, weight, tick);
	}
	if (config.segments && is_whole_tcp(cpu->facts))
		follow(skb, at, cpu, index, way, fresh, linear);
}

#endif
