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
#include "parse.h"
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

static __always_inline void analyse(struct cpu *cpu, __u32 cpu_id, const struct frame *frame,
				    const struct packet *packet, const struct weight *weight)
{
	__u64 now = bpf_ktime_get_ns();

	counter_add(&cpu->analysed, weight);
	count_gap(cpu, now);
	count_size(cpu, weight);
	if (config.sets_per_cpu)
		count_flow(cpu, cpu_id, frame, packet, weight, now);
}

static __always_inline int observe(struct __sk_buff *skb)
{
	__u32 cpu_id = bpf_get_smp_processor_id();
	struct cpu *cpu = bpf_map_lookup_elem(&telegen_cpus, &cpu_id);
	struct frame frame = frame_of(skb);
	struct packet *packet;
	struct weight weight;

	if (!cpu)
		return TC_ACT_UNSPEC;
	packet = &cpu->packet;
	*packet = (struct packet){.gso_size = skb->gso_size};
	parse(&frame, packet);
	weight = weigh(&frame, packet);
	if (!filter_passes(&frame, packet)) {
		count_cell(cpu, CELL_REJECTED, &weight);
		return TC_ACT_UNSPEC;
	}
	count_cell(cpu, cell_of(packet), &weight);
	count_errors(cpu, packet->errors, &weight);
	if (sampled(cpu))
		analyse(cpu, cpu_id, &frame, packet, &weight);
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
