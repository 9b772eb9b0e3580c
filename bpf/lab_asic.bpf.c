// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * The virtual switch's ASIC: programs on tc in the "asic" network namespace.
 *
 *   wireN (outer end) <-> portN: lab_port counts, mirrors, forwards to the peer's portM, whose
 *     wireM counts and swallows the frame
 *   cpuN <-> EthernetN (namespace "switch"): receives copies; what the host sends leaves by the
 * wire tunnel0 <-> collector0 (namespace "switch"): receives the copies of ERSPAN sessions, which
 *     lab_tunnel.h wraps into GRE on their way out
 *
 * Ports are wired in pairs: 0 <-> 1, 2 <-> 3, ... No address table, no flooding: a test must know
 * where each frame goes. A frame reaches an EthernetN only as a mirror copy; that is the whole
 * point of the lab.
 */
#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#include "lab_types.h"
#include "lab_tunnel.h"

/* User space makes the devices with these interface indices, so that no lookup table is needed. */
const volatile __u32 port_ifindex_base = 0;
const volatile __u32 wire_ifindex_base = 0;
const volatile __u32 cpu_ifindex_base = 0;
const volatile __u32 tunnel_ifindex = 0;
const volatile __u32 port_count = 0;
/* The policer: nanoseconds per copy (0: no policer) and how far a destination may run ahead of it.
 */
const volatile __u64 policer_interval_ns = 0;
const volatile __u64 policer_tolerance_ns = 0;

#define VLAN_TAG_BYTES 4

enum side {
	SIDE_RX = 0,
	SIDE_TX = 1,
	SIDE_SAMPLED_RX = 2,
	SIDE_SAMPLED_TX = 3,
	SIDES,
};

/* The peer of port 2k is 2k+1. */
#define PEER(port) ((port) ^ 1)
/* Copies go to a port, or to the collector, whose row is behind those of the ports. */
#define DESTINATIONS (port_count + 1)

/* Key: CPU * port_count + port. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct lab_port_cell);
} lab_ports SEC(".maps");

/* Key: CPU * DESTINATIONS + destination. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct lab_copy_cell);
} lab_copies SEC(".maps");

/* Key: port * SIDES + side. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct lab_binding);
} lab_bindings SEC(".maps");

/* Key: port * SIDES + side. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct lab_sampler);
} lab_samplers SEC(".maps");

struct policer {
	struct bpf_spin_lock lock;
	__u64 paid_until_ns; /* GCRA's theoretical arrival time (ITU-T I.371): the bucket is full
				once this has passed */
};

/* Key: destination. All CPUs share one policer, as all copies share one destination. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct policer);
} lab_policers SEC(".maps");

/* Frame bytes: the tag that the kernel took out of the frame was on the wire. */
static __always_inline __u32 frame_octets(const struct __sk_buff *skb)
{
	return skb->len + (skb->vlan_present ? VLAN_TAG_BYTES : 0);
}

static __always_inline bool is_unicast(const struct __sk_buff *skb)
{
	__u8 first = 0;

	bpf_skb_load_bytes(skb, 0, &first, sizeof(first));
	return !(first & 1);
}

static __always_inline struct lab_port_cell *port_cell(__u32 port)
{
	__u32 index = bpf_get_smp_processor_id() * port_count + port;

	return bpf_map_lookup_elem(&lab_ports, &index);
}

/* Whether the destination's bucket has a token left; takes it. */
static __always_inline bool policer_admits(__u32 destination)
{
	struct policer *policer;
	bool admitted = false;
	__u64 now;

	if (!policer_interval_ns)
		return true;
	policer = bpf_map_lookup_elem(&lab_policers, &destination);
	if (!policer)
		return false;
	now = bpf_ktime_get_ns();
	bpf_spin_lock(&policer->lock);
	if (policer->paid_until_ns < now)
		policer->paid_until_ns = now;
	if (policer->paid_until_ns - now <= policer_tolerance_ns) {
		policer->paid_until_ns += policer_interval_ns;
		admitted = true;
	}
	bpf_spin_unlock(&policer->lock);
	return admitted;
}

/* Sends a copy of the frame to where the port's side is bound, if it is bound at all. */
static __always_inline void mirror(struct __sk_buff *skb, __u32 port, enum side side)
{
	__u32 key = port * SIDES + side, octets = frame_octets(skb), index;
	__u64 *bound = bpf_map_lookup_elem(&lab_bindings, &key);
	struct lab_sampler *sampler = bpf_map_lookup_elem(&lab_samplers, &key);
	struct lab_copy_cell *copies;
	union {
		__u64 word;
		struct lab_binding binding;
	} to;
	enum fate fate;

	if (!bound || !sampler)
		return;
	to.word = *(volatile __u64 *)bound;
	if (!to.binding.destination_plus_one)
		return;
	if (sampler->one_of > 1 && bpf_get_prandom_u32() % sampler->one_of)
		return;
	index = bpf_get_smp_processor_id() * DESTINATIONS + to.binding.destination_plus_one - 1;
	copies = bpf_map_lookup_elem(&lab_copies, &index);
	if (!copies)
		return;
	if (!policer_admits(to.binding.destination_plus_one - 1)) {
		copies->policed++;
		return;
	}
	if (to.binding.tunnel_plus_one)
		fate = send_through_tunnel(skb, to.binding.tunnel_plus_one - 1, tunnel_ifindex,
					   sampler->truncate_octets);
	else
		fate = send_copy(skb, cpu_ifindex_base + to.binding.destination_plus_one - 1);
	switch (fate) {
	case FATE_DELIVERED:
		copies->delivered++;
		copies->delivered_octets += octets;
		break;
	case FATE_REFUSED:
		copies->refused++;
		break;
	case FATE_LOST:
		copies->lost++;
		break;
	}
}

/* The frame leaves the switch through the port's wire. */
static __always_inline int leave(struct __sk_buff *skb, __u32 port)
{
	struct lab_port_cell *cell = port_cell(port);

	if (!cell)
		return TC_ACT_SHOT;
	if (is_unicast(skb))
		cell->tx_unicast++;
	else
		cell->tx_other++;
	cell->tx_octets += frame_octets(skb);
	mirror(skb, port, SIDE_TX);
	mirror(skb, port, SIDE_SAMPLED_TX);
	return bpf_redirect(port_ifindex_base + port, 0);
}

/* A frame came in through a port's wire. */
SEC("tc")
int lab_port(struct __sk_buff *skb)
{
	__u32 port = skb->ifindex - port_ifindex_base;
	struct lab_port_cell *cell = port_cell(port);

	if (!cell)
		return TC_ACT_SHOT;
	if (is_unicast(skb))
		cell->rx_unicast++;
	else
		cell->rx_other++;
	cell->rx_octets += frame_octets(skb);
	mirror(skb, port, SIDE_RX);
	mirror(skb, port, SIDE_SAMPLED_RX);
	return leave(skb, PEER(port));
}

/* The host sent a frame through EthernetN. */
SEC("tc")
int lab_host(struct __sk_buff *skb)
{
	return leave(skb, skb->ifindex - cpu_ifindex_base);
}

/* A frame has left the switch. The namespace's own stack must never see it, or it might answer. */
SEC("tc")
int lab_wire(struct __sk_buff *skb)
{
	struct lab_port_cell *cell = port_cell(skb->ifindex - wire_ifindex_base);

	if (cell) {
		cell->left_packets++;
		cell->left_octets += frame_octets(skb);
	}
	return TC_ACT_SHOT;
}

/* A copy leaves for the collector. */
SEC("tc")
int lab_wrap(struct __sk_buff *skb)
{
	return wrap(skb) ? TC_ACT_SHOT : TC_ACT_OK;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
