// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * What `make bench` measures the tap against: programs that do next to nothing, one that makes many
 * flows out of the one packet that BPF_PROG_TEST_RUN repeats, and two that send live frames. No tap
 * loads any of it.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* A power of two. Long enough that no cache remembers the order of the flows. */
#define BENCH_DRAWS (1 << 20)

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} bench_counter SEC(".maps");

/* Which flow each packet is of; user space draws them. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, BENCH_DRAWS);
	__type(key, __u32);
	__type(value, __u32);
} bench_draws SEC(".maps");

/* How many of them are used up. Not per CPU: whoever draws knows which packet is of which flow. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} bench_drawn SEC(".maps");

/* The program under test. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} bench_next SEC(".maps");

/* All live frames have this length, a multiple of 8. */
#define BENCH_FRAME 128
#define BENCH_KINDS 8

/* A kind of frame, and where in it the number of its flow goes. */
struct bench_kind {
	__u64 words[BENCH_FRAME / 8];
	__u64 number_at;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, BENCH_KINDS);
	__type(key, __u32);
	__type(value, struct bench_kind);
} bench_kinds SEC(".maps");

/* The netdev that live frames leave by; set before the load. */
const volatile __u32 bench_wire = 0;

/* The flow of the next packet, as it lies in a packet. */
static __always_inline const __u32 *bench_draw(void)
{
	__u32 key = 0;
	__u64 *drawn = bpf_map_lookup_elem(&bench_drawn, &key);

	if (!drawn)
		return NULL;
	key = (*drawn)++ & (BENCH_DRAWS - 1);
	return bpf_map_lookup_elem(&bench_draws, &key);
}

SEC("tcx/ingress")
int bench_empty(struct __sk_buff *skb)
{
	(void)skb;
	return TC_ACT_UNSPEC;
}

SEC("tcx/ingress")
int bench_one_counter(struct __sk_buff *skb)
{
	__u32 key = 0;
	__u64 *counter = bpf_map_lookup_elem(&bench_counter, &key);

	(void)skb;
	if (counter)
		(*counter)++;
	return TC_ACT_UNSPEC;
}

/* What no tap can do without that times every packet. */
SEC("tcx/ingress")
int bench_clock(struct __sk_buff *skb)
{
	(void)skb;
	return bpf_ktime_get_ns() ? TC_ACT_UNSPEC : TC_ACT_OK;
}

/* Gives an untagged IPv4 packet the next drawn source address, and hands it on. */
SEC("tcx/ingress")
int bench_flows(struct __sk_buff *skb)
{
	struct iphdr *ip = (void *)(long)skb->data + ETH_HLEN;
	const __u32 *flow = bench_draw();

	if ((void *)(ip + 1) > (void *)(long)skb->data_end || !flow)
		return TC_ACT_SHOT;
	ip->saddr = *flow;
	bpf_tail_call(skb, &bench_next, 0);
	return TC_ACT_SHOT;
}

/* Sends the frame as it is. */
SEC("xdp")
int bench_send(struct xdp_md *xdp)
{
	(void)xdp;
	return bpf_redirect(bench_wire, 0);
}

/* Makes the frame one of the drawn flow, whose kind is in its lowest bits, and sends it. */
SEC("xdp")
int bench_send_mixed(struct xdp_md *xdp)
{
	char *frame = (void *)(long)xdp->data;
	const __u32 *flow = bench_draw();
	const struct bench_kind *kind;
	__u32 number;
	__u64 at;

	if (!flow)
		return XDP_ABORTED;
	number = bpf_ntohl(*flow) & (BENCH_KINDS - 1);
	kind = bpf_map_lookup_elem(&bench_kinds, &number);
	if (!kind || frame + BENCH_FRAME > (char *)(long)xdp->data_end)
		return XDP_ABORTED;
#pragma unroll
	for (int i = 0; i < BENCH_FRAME / 8; i++)
		((__u64 *)frame)[i] = kind->words[i];
	at = kind->number_at & (BENCH_FRAME - 1);
	if (frame + at + sizeof(*flow) > (char *)(long)xdp->data_end)
		return XDP_ABORTED;
	*(__u32 *)(frame + at) = *flow;
	return bpf_redirect(bench_wire, 0);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
