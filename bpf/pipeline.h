/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * The tap: what is done for each packet, from its bytes to the counters. It only reads, and hands
 * every packet on to whoever is next on the hook.
 */
#ifndef TELEGEN_PIPELINE_H
#define TELEGEN_PIPELINE_H

#include <linux/pkt_cls.h>
#include "platform.h"
#include "config.h"
#include "maps.h"
#include "frame.h"
#include "parse_fast.h"
#include "parse_tunnel.h"
#include "encapsulation_fast.h"
#include "copies.h"
#include "filter.h"
#include "count.h"
#include "health.h"
#include "checksum.h"
#include "service.h"
#include "histogram.h"
#include "inner.h"
#include "flow.h"

/* What is known of the packet at hand. */
struct observed {
	facts outer; /* what it is counted as */
	facts shown; /* what filters and flows speak of: what is in its tunnel, or outer */
	struct weight weight;
	__u32 errors;
	bool fast; /* the fast parser saw it, so it has no options, errors or tunnels */
};

/*
 * What is left to do for a packet once it has been counted. Most have nothing left, and whoever
 * does it is called last, so that they do not pay for the registers which a call would need.
 */
#define LEFT_ANALYSIS 1
#define LEFT_GAP      2
#define LEFT_ROCEV2   4
#define LEFT_LINEAR   8 /* and all of its headers lie in front of data_end */

/* Whether this packet is analysed. */
static __always_inline bool sampled(struct cpu *cpu)
{
	__u32 skip;

	if (config.sample_rate == 1)
		return true;
	forget(); /* else the compiler makes one condition of two, of which the verifier knows the
		     first */
	skip = cpu->skip;
	if (skip > 1)
		cpu->skip = skip - 1;
	return skip <= 1;
}

/* The packet of cpu->facts and cpu->weight. */
static __always_inline int analyse(struct __sk_buff *skb, place at, struct cpu *cpu, bool linear)
{
	if (config.sample_rate > 1)
		cpu->skip = draw_distance(cpu, config.sample_rate);
	counter_add(&cpu->analysed, &cpu->weight);
	if (config.sets_per_cpu)
		count_flow(skb, at, cpu, linear);
	return 0;
}

/* For the packets that the fast parser leaves to the parsers of the layers. */
function int parse_layers(struct __sk_buff *skb, place at, struct packet *packet)
{
	struct frame frame = frame_in(skb, at);

	*packet = (struct packet){
		.gso_size = frame.skb->gso_size,
		.tags = frame_tagged(&frame),
		.tunnel = TUNNEL_NONE,
	};
	parse(&frame, packet);
	return 0;
}

/* Looks into the tunnel of a packet that has been parsed, if it is one. */
function int look_inside(struct __sk_buff *skb, place at, struct packet *outer,
			 struct packet *inner)
{
	struct frame frame = frame_in(skb, at);
	int next = parse_tunnel(&frame, outer);

	*inner = (struct packet){};
	if (next == STOP)
		return 0;
	/* Behind the outer packet is padding. */
	if (outer->ip_offset)
		frame.len = outer->ip_end;
	forget();
	parse_inner(&frame, outer, inner, next);
	return 0;
}

/* Finds the place of the frame in a copy of this job's; 0: there is none. */
function int unwrap_copy(struct __sk_buff *skb, struct cpu *cpu)
{
	struct frame frame = frame_of(skb);
	struct copy copy = unwrap(&frame);

	count_copy(cpu, &copy);
	cpu->place = copy.kind == COPY_FRAME ? copy.base << 32 | (__u32)copy.len : 0;
	return 0;
}

/*
 * The same. The place comes from the map, where the verifier forgets how it came about: it would
 * otherwise follow the rest of the program once for each encapsulation.
 */
static __always_inline place place_of_copy(struct __sk_buff *skb, struct cpu *cpu)
{
	struct frame frame = frame_of(skb);

	cpu->place = unwrap_fast(&frame);
	if (!cpu->place)
		unwrap_copy(skb, cpu);
	forget();
	return cpu->place;
}

function int measure_gap(struct cpu *cpu)
{
	count_gap(cpu);
	return 0;
}

/* Of the packet of cpu->packet, which is this many on the wire. */
function int check_options(struct __sk_buff *skb, place at, struct cpu *cpu, __u64 packets)
{
	struct frame frame = frame_in(skb, at);

	if (!ip4_checksum_is_right(&frame, cpu->packet.ip_offset, cpu->packet.ip_header))
		cpu->errors[ERROR_CHECKSUM_IP] += packets;
	return 0;
}

static __always_inline void check_sum(struct cpu *cpu, const struct frame *frame,
				      const struct observed *seen, const union ip_head *ip)
{
	if (!ip || seen->outer & CELL_IPV6)
		return;
	if (seen->fast) {
		if (!plain_checksum_is_right(ip))
			cpu->errors[ERROR_CHECKSUM_IP] += seen->weight.packets;
	} else if (!cpu->packet.gso_size) {
		check_options(frame->skb, place_of(frame), cpu, seen->weight.packets);
	}
}

/* What is counted of every packet that passes the filter, besides its totals; what is left to do.
 */
static __always_inline int count_more(struct cpu *cpu, const struct frame *frame,
				      const struct observed *seen)
{
	const union ip_head *ip = NULL;
	struct scratch scratch;
	int left = 0;

	if (config.sizes)
		count_size(cpu, &seen->weight);
	if (seen->fast || ip_offset_of(seen->outer))
		ip = ip_head_of(frame, seen->outer, &scratch);
	if (config.health)
		count_health(cpu, frame, seen->outer, ip, &seen->weight);
	if (config.health && !seen->fast)
		count_options(cpu, &seen->weight);
	if (config.checksum)
		check_sum(cpu, frame, seen, ip);
	if (config.inner && !seen->fast)
		count_inner(cpu, &seen->weight);
	if (config.service_key && count_service(cpu, frame, seen->outer, &seen->weight))
		left |= LEFT_ROCEV2;
	if (config.gap_rate && gap_due(cpu))
		left |= LEFT_GAP;
	return left;
}

/* What is left to do; cpu->facts and cpu->weight are then the packet's. */
static __always_inline int count_if_asked(struct cpu *cpu, const struct frame *frame,
					  const struct observed *seen)
{
	int left = 0;

	if (config.filtered && !filter_passes(frame, seen->shown)) {
		count_cell(cpu, CELL_REJECTED, &seen->weight);
		return 0;
	}
	count_cell(cpu, seen->outer, &seen->weight);
	count_errors(cpu, seen->errors, &seen->weight);
	if (config.more)
		left = count_more(cpu, frame, seen);
	if (sampled(cpu))
		left |= seen->fast ? LEFT_ANALYSIS | LEFT_LINEAR : LEFT_ANALYSIS;
	if (left) {
		cpu->facts = seen->shown;
		cpu->weight = seen->weight;
	}
	return left;
}

/*
 * What is known of the packet of cpu->packet, and of cpu->inner_packet if tunnels are asked for:
 * into cpu->outer, cpu->facts and cpu->weight. Through the map, so that the verifier sees one
 * packet and not all kinds of them.
 */
static __always_inline void what_layers_say(struct __sk_buff *skb, place at, struct cpu *cpu)
{
	struct frame frame = frame_in(skb, at);

	cpu->outer = facts_of(&cpu->packet);
	cpu->weight = weigh_gso(&frame, &cpu->packet);
	if (config.inner && cpu->inner_packet.l4_payload)
		cpu->weight = weigh_gso(&frame, &cpu->inner_packet);
	forget();
	if (config.inner && cpu->inner_packet.ip_offset)
		cpu->facts = facts_of(&cpu->inner_packet);
	else
		cpu->facts = cpu->outer;
	forget();
}

function int count_layers(struct __sk_buff *skb, place at, struct cpu *cpu)
{
	struct frame frame = frame_in(skb, at);
	struct observed seen;
	int left;

	what_layers_say(skb, at, cpu);
	seen = (struct observed){
		.outer = cpu->outer,
		.shown = cpu->facts,
		.weight = cpu->weight,
		.errors = cpu->packet.errors,
	};
	left = count_if_asked(cpu, &frame, &seen);
	if (config.inner && left & LEFT_ROCEV2) {
		count_rocev2(skb, at, cpu, seen.outer);
		left &= ~LEFT_ROCEV2;
	}
	return left;
}

/*
 * The same frame, of which the verifier does not know that it begins where the buffer does: else it
 * keeps in mind how far each way through the layers has looked, and follows them all to the end.
 */
static __always_inline place somewhere(struct __sk_buff *skb, place at, struct cpu *cpu)
{
	cpu->place = at ? at : skb->len;
	forget();
	return cpu->place;
}

static __always_inline int observe_layers(struct __sk_buff *skb, place at, struct cpu *cpu)
{
	at = somewhere(skb, at, cpu);
	if (!at)
		return 0; /* an empty buffer, of which there are none */
	parse_layers(skb, at, &cpu->packet);
	if (config.inner)
		look_inside(skb, at, &cpu->packet, &cpu->inner_packet);
	return count_layers(skb, at, cpu);
}

/*
 * Two ways, although they end alike: of a packet that the fast parser saw, the compiler knows a
 * lot, which it would forget where the ways meet.
 */
static __always_inline int observe_frame(struct __sk_buff *skb, place at, struct cpu *cpu)
{
	struct observed seen = {.fast = true};
	struct frame frame = frame_in(skb, at);

	seen.outer = seen.shown = parse_fast(&frame);
	if (!seen.outer)
		return observe_layers(skb, at, cpu);
	frame = frame_in(skb, at);
	frame.linear = true;
	if (config.inner && fast_tunnel(&frame, seen.outer))
		return observe_layers(skb, at, cpu);
	seen.weight = weigh(&frame);
	return count_if_asked(cpu, &frame, &seen);
}

static __always_inline struct cpu *this_cpu(void)
{
	__u32 id = cpu_number();

	return element_of(telegen_cpus, id);
}

/* The same as a function, which the packets that do not come here need not make room for. */
function int analyse_rarely(struct __sk_buff *skb, place at, struct cpu *cpu)
{
	return analyse(skb, at, cpu, false);
}

static __always_inline int look_closer(struct __sk_buff *skb, place at, struct cpu *cpu, int left)
{
	if (config.service_key && left & LEFT_ROCEV2)
		count_rocev2(skb, at, cpu, cpu->facts);
	if (config.gap_rate && left & LEFT_GAP)
		measure_gap(cpu);
	if (!(left & LEFT_ANALYSIS))
		return TC_ACT_UNSPEC;
	if (config.sample_rate == 1 && left & LEFT_LINEAR)
		analyse(skb, at, cpu, true);
	else
		analyse_rarely(skb, at, cpu);
	return TC_ACT_UNSPEC;
}

static __always_inline int observe(struct __sk_buff *skb)
{
	struct cpu *cpu = this_cpu();

	if (!cpu)
		return TC_ACT_UNSPEC;
	return look_closer(skb, 0, cpu, observe_frame(skb, 0, cpu));
}

/* For copies that come encapsulated. */
static __always_inline int observe_copies(struct __sk_buff *skb)
{
	struct cpu *cpu = this_cpu();
	place at;

	if (!cpu)
		return TC_ACT_UNSPEC;
	at = place_of_copy(skb, cpu);
	if (!at)
		return TC_ACT_UNSPEC;
	return look_closer(skb, at, cpu, observe_frame(skb, at, cpu));
}

/* For tests: everything is left to the parsers of the layers. */
static __always_inline int observe_slowly(struct __sk_buff *skb)
{
	struct cpu *cpu = this_cpu();

	if (!cpu)
		return TC_ACT_UNSPEC;
	return look_closer(skb, 0, cpu, observe_layers(skb, 0, cpu));
}

#endif
