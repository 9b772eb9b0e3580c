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
#include "filter.h"
#include "count.h"
#include "histogram.h"
#include "flow.h"

/*
 * Whether this packet is analysed. The distance to the next one is uniform in 1..2N-1, of mean N: a
 * random number per analysed packet instead of one per packet. User space draws the first distance
 * such that no packet is likelier than another. The packet in front of an analysed one is timed,
 * see count_gap().
 */
static __always_inline bool sampled(struct cpu *cpu)
{
	__u32 skip = cpu->skip;

	if (config.sample_rate == 1)
		return true;
	if (skip > 1) {
		cpu->skip = skip - 1;
		if (skip == 2)
			cpu->previous_ns = bpf_ktime_get_ns();
		return false;
	}
	cpu->skip = 1 + ((__u64)bpf_get_prandom_u32() * (2 * config.sample_rate - 1) >> 32);
	return true;
}

/* A function of its own, so that the packets that are only counted do not pay for its registers. */
static __noinline int analyse(struct __sk_buff *skb, struct cpu *cpu, __u32 cpu_id,
			      const struct facts *facts, const struct weight *weight)
{
	struct frame frame = frame_of(skb);
	__u64 now = config.untimed ? 0 : bpf_ktime_get_ns();

	counter_add(&cpu->analysed, weight);
	if (!config.untimed)
		count_gap(cpu, now);
	count_size(cpu, weight);
	if (config.sets_per_cpu)
		count_flow(cpu, cpu_id, &frame, facts, weight, now);
	return 0;
}

/* For the packets that the fast parser leaves to the parsers of the layers. */
static __noinline int parse_layers(struct __sk_buff *skb, struct packet *packet)
{
	struct frame frame = frame_of(skb);

	*packet = (struct packet){.gso_size = skb->gso_size};
	parse(&frame, packet);
	return 0;
}

static __always_inline int observe(struct __sk_buff *skb)
{
	__u32 cpu_id = bpf_get_smp_processor_id();
	struct cpu *cpu = bpf_map_lookup_elem(&telegen_cpus, &cpu_id);
	struct frame frame = frame_of(skb);
	struct weight weight = weigh(&frame);
	struct facts facts;
	__u32 errors = 0;

	if (!cpu)
		return TC_ACT_UNSPEC;
	if (config.layers_only || !parse_fast(&frame, &facts)) {
		parse_layers(skb, &cpu->packet);
		facts = facts_of(&cpu->packet);
		weight = weigh_gso(&frame, &cpu->packet);
		errors = cpu->packet.errors;
	}
	frame = frame_again(skb);
	if (!filter_passes(&frame, &facts)) {
		count_cell(cpu, CELL_REJECTED, &weight);
		return TC_ACT_UNSPEC;
	}
	count_cell(cpu, facts.cell, &weight);
	count_errors(cpu, errors, &weight);
	if (sampled(cpu)) {
		/* Copies, so that what all packets need stays in registers. */
		struct facts of_it = facts;
		struct weight its_weight = weight;

		analyse(skb, cpu, cpu_id, &of_it, &its_weight);
	}
	return TC_ACT_UNSPEC;
}

SEC("tcx/ingress")
int telegen_ingress(struct __sk_buff *skb)
{
	return observe(skb);
}

SEC("tcx/egress")
int telegen_egress(struct __sk_buff *skb)
{
	return observe(skb);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
