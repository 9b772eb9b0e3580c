// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * What `make bench` measures the tap against: programs that do next to nothing, and one that makes
 * many flows out of the one packet that BPF_PROG_TEST_RUN repeats. No tap loads any of it.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
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

/* The program under test. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} bench_next SEC(".maps");

static __always_inline __u64 bench_count(void)
{
	__u32 key = 0;
	__u64 *counter = bpf_map_lookup_elem(&bench_counter, &key);

	return counter ? (*counter)++ : 0;
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
	(void)skb;
	bench_count();
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
	__u32 index = bench_count() & (BENCH_DRAWS - 1);
	const __u32 *flow = bpf_map_lookup_elem(&bench_draws, &index);

	if ((void *)(ip + 1) > (void *)(long)skb->data_end || !flow)
		return TC_ACT_SHOT;
	ip->saddr = *flow;
	bpf_tail_call(skb, &bench_next, 0);
	return TC_ACT_SHOT;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
