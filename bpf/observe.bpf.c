// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * The tap: what reaches a netdev, counted. It only reads, and hands every packet on to whoever is
 * next on the hook.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>
#include "config.h"
#include "maps.h"
#include "frame.h"
#include "parse_fast.h"
#include "parse_tunnel.h"
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
	struct facts outer; /* what it is counted as */
	struct facts shown; /* what filters and flows speak of: what is in its tunnel, or outer */
	struct weight weight;
	__u32 errors;
	bool fast; /* the fast parser saw it, so it has no options, errors or tunnels */
};

/*
 * Whether this packet is analysed. The distance to the next one is uniform in 1..2N-1, of mean N: a
 * random number per analysed packet instead of one per packet. User space draws the first distance
 * such that no packet is likelier than another.
 */
static __always_inline bool sampled(struct cpu *cpu)
{
	__u32 skip = cpu->skip;

	if (config.sample_rate == 1)
		return true;
	if (skip > 1) {
		cpu->skip = skip - 1;
		return false;
	}
	cpu->skip = 1 + ((__u64)bpf_get_prandom_u32() * (2 * config.sample_rate - 1) >> 32);
	return true;
}

/*
 * Functions of their own, so that the packets that do not come here do not pay for their registers.
 */

function int analyse(struct cpu *cpu, __u32 cpu_id, const struct frame *of,
		     const struct facts *facts, const struct weight *weight)
{
	struct frame frame = frame_again(of);

	counter_add(&cpu->analysed, weight);
	if (config.sets_per_cpu)
		count_flow(cpu, cpu_id, &frame, facts, weight);
	return 0;
}

/* For the packets that the fast parser leaves to the parsers of the layers. */
function int parse_layers(const struct frame *of, struct packet *packet)
{
	struct frame frame = frame_again(of);

	*packet = (struct packet){
		.gso_size = frame.skb->gso_size,
		.tags = frame_tagged(&frame),
		.tunnel = TUNNEL_NONE,
	};
	parse(&frame, packet);
	return 0;
}

/* Looks into the tunnel of a packet that has been parsed, if it is one. */
function int look_inside(const struct frame *of, struct packet *outer, struct packet *inner)
{
	struct frame frame = frame_again(of);
	int next = parse_tunnel(&frame, outer);

	*inner = (struct packet){};
	if (next == STOP)
		return 0;
	/* Behind the outer packet is padding. */
	if (outer->ip_offset) {
		frame.len = outer->ip_end;
		frame.bounded = true;
	}
	forget();
	parse_inner(&frame, outer, inner, next);
	return 0;
}

function int unwrap_copy(struct __sk_buff *skb, struct cpu *cpu, struct copy *copy)
{
	struct frame frame = frame_of(skb);

	*copy = unwrap(&frame);
	count_copy(cpu, copy);
	return 0;
}

function int measure_gap(struct cpu *cpu)
{
	count_gap(cpu);
	return 0;
}

function int check_options(struct cpu *cpu, const struct frame *frame, const struct weight *weight)
{
	if (!ip4_checksum_is_right(frame, cpu->packet.ip_offset, cpu->packet.ip_header))
		cpu->errors[ERROR_CHECKSUM_IP] += weight->packets;
	return 0;
}

/* What the parsers of the layers say of a packet. */
static __always_inline void observe_layers(struct cpu *cpu, const struct frame *frame,
					   struct observed *seen)
{
	struct frame of_it = *frame;

	parse_layers(&of_it, &cpu->packet);
	seen->outer = seen->shown = facts_of(&cpu->packet);
	seen->errors = cpu->packet.errors;
	seen->weight = weigh_gso(frame, &cpu->packet);
	if (!config.inner)
		return;
	look_inside(&of_it, &cpu->packet, &cpu->inner_packet);
	if (cpu->inner_packet.ip_offset)
		seen->shown = facts_of(&cpu->inner_packet);
	if (cpu->inner_packet.l4_payload)
		seen->weight = weigh_gso(frame, &cpu->inner_packet);
}

static __always_inline void check_sum(struct cpu *cpu, const struct frame *frame,
				      const struct observed *seen)
{
	if (!config.checksum || ip_version_of(&seen->outer) != 4)
		return;
	if (seen->fast) {
		if (!plain_checksum_is_right(frame, seen->outer.ip_offset))
			cpu->errors[ERROR_CHECKSUM_IP] += seen->weight.packets;
	} else if (!cpu->packet.gso_size) {
		struct frame of_it = *frame;
		struct weight its_weight = seen->weight;

		check_options(cpu, &of_it, &its_weight);
	}
}

/* All that is counted of every packet that passes the filter. */
static __always_inline void count_all(struct cpu *cpu, const struct frame *frame,
				      const struct observed *seen)
{
	count_cell(cpu, seen->outer.cell, &seen->weight);
	count_errors(cpu, seen->errors, &seen->weight);
	check_sum(cpu, frame, seen);
	if (config.sizes)
		count_size(cpu, &seen->weight);
	if (config.health)
		count_health(cpu, frame, &seen->outer, &seen->weight);
	if (config.service_key)
		count_service(cpu, frame, &seen->outer, &seen->weight);
	if (config.inner && !seen->fast)
		count_inner(cpu, &seen->weight);
	if (config.gap_rate && gap_due(cpu))
		measure_gap(cpu);
}

static __always_inline int observe(struct __sk_buff *skb, bool wrapped)
{
	__u32 cpu_id = bpf_get_smp_processor_id();
	struct cpu *cpu = bpf_map_lookup_elem(&telegen_cpus, &cpu_id);
	struct frame frame = frame_of(skb);
	struct observed seen;

	if (!cpu)
		return TC_ACT_UNSPEC;
	if (wrapped) {
		struct copy copy;

		unwrap_copy(skb, cpu, &copy);
		if (copy.kind != COPY_FRAME)
			return TC_ACT_UNSPEC;
		frame = frame_within(skb, copy.base, copy.len);
	}
	seen.fast = !config.layers_only && parse_fast(&frame, config.inner, &seen.outer);
	if (seen.fast) {
		seen.shown = seen.outer;
		seen.errors = 0;
		seen.weight = weigh(&frame);
	} else {
		observe_layers(cpu, &frame, &seen);
	}
	frame = frame_again(&frame);
	if (!filter_passes(&frame, &seen.shown)) {
		count_cell(cpu, CELL_REJECTED, &seen.weight);
		return TC_ACT_UNSPEC;
	}
	count_all(cpu, &frame, &seen);
	if (sampled(cpu)) {
		/* Copies, so that what all packets need stays in registers. */
		struct frame of_it = frame;
		struct facts its_facts = seen.shown;
		struct weight its_weight = seen.weight;

		analyse(cpu, cpu_id, &of_it, &its_facts, &its_weight);
	}
	return TC_ACT_UNSPEC;
}

SEC("tcx/ingress")
int telegen_ingress(struct __sk_buff *skb)
{
	return observe(skb, false);
}

SEC("tcx/egress")
int telegen_egress(struct __sk_buff *skb)
{
	return observe(skb, false);
}

/* Instead of telegen_ingress where copies come encapsulated. */
SEC("tcx/ingress")
int telegen_copies(struct __sk_buff *skb)
{
	return observe(skb, true);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
