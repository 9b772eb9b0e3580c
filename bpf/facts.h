/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * What is known of a parsed packet: what it counts as, and where the rest is. Addresses, ports,
 * DSCP and VLAN are read when a filter or the analysis asks for them, most packets are only
 * counted. All that is read here lies where the parsers have been.
 */
#ifndef TELEGEN_FACTS_H
#define TELEGEN_FACTS_H

#include "parse.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "words are put together for little-endian CPUs, which all of SONiC's are"
#endif

#define UNTAGGED (-1)

static __always_inline __u64 cell_of(const struct packet *packet)
{
	__u64 ipv6 = packet->eth_class == ETH_IPV6 ? CELL_IPV6 : 0;

	if (packet->eth_class > ETH_IPV6)
		return CELL_NOT_IP | packet->eth_class;
	if (packet->fragment == FRAGMENT_LATER)
		return CELL_LATER | ipv6 | packet->ip_class;
	if (packet->fragment == FRAGMENT_FIRST)
		return CELL_IP | ipv6 | CELL_FRAGMENT | packet->ip_class;
	if (packet->tcp)
		return CELL_TCP | ipv6 | (packet->tcp & CELL_FLAGS) |
		       (packet->tcp & TCP_ZERO_WINDOW ? CELL_ZERO_WINDOW : 0);
	return CELL_IP | ipv6 | packet->ip_class;
}

/* The index of the packet's cell, with CELL_ZERO_WINDOW. */
static __always_inline __u64 cell_in(facts facts)
{
	return facts & (CELL_ZERO_WINDOW | (CELLS - 1));
}

/* Offsets, 0 where there is none: of the fixed IP header, if it can be believed; of ports; of an
 * ICMP header. Headers are in the frame as far as their offsets say. */
static __always_inline __u64 ip_offset_of(facts facts)
{
	return facts >> FACTS_IP_SHIFT & 0xffff;
}

static __always_inline __u64 ports_offset_of(facts facts)
{
	return facts & FACTS_PORTS ? facts >> FACTS_L4_SHIFT : 0;
}

static __always_inline __u64 icmp_offset_of(facts facts)
{
	return facts & FACTS_ICMP ? facts >> FACTS_L4_SHIFT : 0;
}

/* Behind the extension headers, or the last that could be read. */
static __always_inline __u8 proto_of(facts facts)
{
	return facts >> FACTS_PROTO_SHIFT;
}

/* What the parsers of the layers found. */
static __always_inline facts facts_of(const struct packet *packet)
{
	__u64 l4 = packet->ports_offset | packet->icmp_offset; /* no packet has both */

	return cell_of(packet) | (__u64)packet->proto << FACTS_PROTO_SHIFT |
	       (packet->ports_offset ? FACTS_PORTS : 0) | (packet->icmp_offset ? FACTS_ICMP : 0) |
	       (packet->ip_offset & 0xffff) << FACTS_IP_SHIFT | l4 << FACTS_L4_SHIFT;
}

static __always_inline __u8 ip_version_of(facts facts)
{
	if (!ip_offset_of(facts))
		return 0;
	return facts & CELL_IPV6 ? 6 : 4;
}

/* Whether it is TCP, not a fragment, with its fixed header in the frame. */
static __always_inline bool is_whole_tcp(facts facts)
{
	return (facts & CELL_KIND) == CELL_TCP;
}

static __always_inline bool is_class(facts facts, enum ip_class class)
{
	return (facts & CELL_IP) && (facts & CELL_IP_CLASS) == class;
}

static __always_inline bool proto_known(facts facts)
{
	return ip_offset_of(facts) && (is_whole_tcp(facts) || !is_class(facts, IP_TRUNCATED));
}

/* The id of the outermost tag. */
static __always_inline int outer_vlan(const struct frame *frame, facts facts)
{
	struct {
		__be16 proto;
		struct vlan_tag tag;
	} const *at;
	struct scratch scratch;

	if (frame_tagged(frame))
		return frame->skb->vlan_tci & 0xfff;
	if (ip_offset_of(facts) == sizeof(struct ethhdr))
		return UNTAGGED;
	at = frame_at(frame, offsetof(struct ethhdr, h_proto), sizeof(*at), &scratch);
	if (!at || !is_vlan(at->proto))
		return UNTAGGED;
	return bpf_ntohs(at->tag.tci) & 0xfff;
}

/* Both ports as they lie in the packet, the source's first, of a packet with a ports_offset. */
static __always_inline __u32 ports_of(const struct frame *frame, facts facts)
{
	struct scratch scratch;
	const __u32 *at = frame_at(frame, ports_offset_of(facts), sizeof(*at), &scratch);

	return at ? *at : 0;
}

/* What every IP header begins with, IPv4's without options or half of IPv6's. */
union ip_head {
	struct iphdr v4;
	__be16 v6_class; /* the traffic class is 4 bits into it */
	struct {
		__u8 before[7];
		__u8 v6_hop_limit;
	};
	__u32 words[sizeof(struct iphdr) / 4];
};

/* Of a packet with an IP version. */
static __always_inline const union ip_head *ip_head_of(const struct frame *frame, facts facts,
						       struct scratch *scratch)
{
	return frame_at(frame, ip_offset_of(facts), sizeof(union ip_head), scratch);
}

/* DSCP and, in the lowest two bits, ECN (RFC 2474, 3; RFC 3168, 5). */
static __always_inline __u8 tos_in(const union ip_head *ip, bool v4)
{
	return v4 ? ip->v4.tos : bpf_ntohs(ip->v6_class) >> 4;
}

/* The same, of a packet with an IP version. */
static __always_inline __u8 tos_of(const struct frame *frame, facts facts)
{
	struct scratch scratch;
	const union ip_head *ip = ip_head_of(frame, facts, &scratch);

	return ip ? tos_in(ip, ip_version_of(facts) == 4) : 0;
}

/* Where the IP packet says that it ends: maybe behind the frame. Of a packet with an IP version. */
static __always_inline __u64 ip_end_of(const struct frame *frame, facts facts)
{
	bool v4 = ip_version_of(facts) == 4;
	__u64 offset = ip_offset_of(facts) + (v4 ? 2 : 4);
	struct scratch scratch;
	const __be16 *at = frame_at(frame, offset, sizeof(*at), &scratch);

	/* 0: TSO of more than 64 KiB, or a jumbogram. */
	if (!at || !*at)
		return frame->len;
	return ip_offset_of(facts) + bpf_ntohs(*at) + (v4 ? 0 : sizeof(struct ipv6hdr));
}

/*
 * Addresses as they lie in struct flow_key, in 64-bit words: assembled in registers, because a load
 * stalls that is wider than the stores before it.
 */
struct addresses {
	__u64 src[2];
	__u64 dst[2];
};

#define IP4_MAPPED bpf_htonl(0xffff)

/* Of a packet with an IP version. */
static __always_inline struct addresses addresses_of(const struct frame *frame, facts facts)
{
	struct addresses all = {};
	struct scratch scratch;

	if (ip_version_of(facts) == 4) {
		const __u32 *at =
			frame_at(frame, ip_offset_of(facts) + offsetof(struct iphdr, saddr),
				 2 * sizeof(*at), &scratch);

		all.src[1] = all.dst[1] = IP4_MAPPED;
		if (at) {
			all.src[1] |= (__u64)at[0] << 32;
			all.dst[1] |= (__u64)at[1] << 32;
		}
	} else {
		const __u64 *at =
			frame_at(frame, ip_offset_of(facts) + offsetof(struct ipv6hdr, saddr),
				 sizeof(all), &scratch);

		if (at)
			all = (struct addresses){{at[0], at[1]}, {at[2], at[3]}};
	}
	return all;
}

#endif
