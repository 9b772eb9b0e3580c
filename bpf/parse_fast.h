/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * The fast parser: what nearly all packets are (up to two tags in the bytes; IPv4 without options
 * or IPv6 with a few extension headers; TCP, UDP or ICMP; whole, correct, linear, not a fragment,
 * not a GSO buffer), in one pass and with few loads.
 *
 * It says of such a packet what the parsers of the layers say, or 0: that it is none. It knows no
 * errors: whoever sees one leaves the packet to them.
 */
#ifndef TELEGEN_PARSE_FAST_H
#define TELEGEN_PARSE_FAST_H

#include "facts.h"
#include "parse_tunnel.h"

#define FAST_TAGS	2
#define FAST_EXTENSIONS 4

/* The first byte of an IPv4 header without options. */
#define IP4_PLAIN 0x45

static __always_inline bool is_ip(__be16 proto)
{
	return proto == bpf_htons(ETH_P_IP) || proto == bpf_htons(ETH_P_IPV6);
}

/* What is known of the header at `at`, without facts about IP. */
static __always_inline facts fast_facts(const struct frame *frame, const char *at, __u8 proto)
{
	return (__u64)(at - frame->data) << FACTS_L4_SHIFT | (__u64)proto << FACTS_PROTO_SHIFT;
}

/*
 * The next three: the header at `at`, of which and of what follows the IP packet has len bytes. All
 * that return facts return 0 for what is not for this parser.
 */
static __always_inline facts fast_tcp(const struct frame *frame, const char *at, __u64 len)
{
	const struct tcphdr *tcp = (const void *)at;
	facts found;

	if (at + sizeof(*tcp) > frame->data_end)
		return 0;
	if (tcp->doff * 4 < sizeof(*tcp) || tcp->doff * 4 > len)
		return 0;
	found = CELL_TCP | (at[TCP_FLAGS_OFFSET] & CELL_FLAGS);
	if (!tcp->window)
		found |= CELL_ZERO_WINDOW;
	return found | FACTS_PORTS | fast_facts(frame, at, IPPROTO_TCP);
}

static __always_inline facts fast_udp(const struct frame *frame, const char *at, __u64 len)
{
	const struct udphdr *udp = (const void *)at;

	if (at + sizeof(*udp) > frame->data_end)
		return 0;
	if (len < sizeof(*udp) || bpf_ntohs(udp->len) < sizeof(*udp))
		return 0;
	return CELL_IP | IP_UDP | FACTS_PORTS | fast_facts(frame, at, IPPROTO_UDP);
}

static __always_inline facts fast_icmp(const struct frame *frame, const char *at, __u64 len,
				       __u8 proto)
{
	/* Type and code are read later, and what this parser takes is not copied out. */
	if (at + ICMPV6_HEADER_LEN > frame->data_end)
		return 0;
	if (len < (proto == IPPROTO_ICMP ? ICMP_HEADER_LEN : ICMPV6_HEADER_LEN))
		return 0;
	return CELL_IP | (proto == IPPROTO_ICMP ? IP_ICMP : IP_ICMPV6) | FACTS_ICMP |
	       fast_facts(frame, at, proto);
}

/* Mobility headers are so rare that they are left out. */
static __always_inline bool is_ip6_options(__u8 proto)
{
	return proto == IPPROTO_HOPOPTS || proto == IPPROTO_ROUTING || proto == IPPROTO_DSTOPTS;
}

static __always_inline facts fast_l4(const struct frame *frame, const char *at, __u64 len,
				     __u8 proto)
{
	switch (proto) {
	case IPPROTO_TCP:
		return fast_tcp(frame, at, len);
	case IPPROTO_UDP:
		return fast_udp(frame, at, len);
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return fast_icmp(frame, at, len, proto);
	default:
		return 0;
	}
}

static __always_inline facts fast_ipv4(const struct frame *frame, const char *at)
{
	const struct iphdr *ip = (const void *)at;
	__u64 total, offset = at - frame->data;
	facts l4;

	if (at + sizeof(*ip) > frame->data_end)
		return 0;
	if (*(const __u8 *)at != IP4_PLAIN)
		return 0;
	if (ip->frag_off & bpf_htons(IP_MORE_FRAGMENTS | IP_FRAGMENT_OFFSET))
		return 0;
	total = bpf_ntohs(ip->tot_len);
	if (total < sizeof(*ip) || offset + total > frame->len)
		return 0;
	l4 = fast_l4(frame, at + sizeof(*ip), total - sizeof(*ip), ip->protocol);
	return l4 ? l4 | offset << FACTS_IP_SHIFT : 0;
}

/* The extension headers at *at, *len bytes in front of the packet's end; *proto is the first. */
static __always_inline bool fast_ip6_extensions(const struct frame *frame, const char **at,
						__u64 *len, __u8 *proto)
{
	__u64 offset = *at - frame->data;

	for (int i = 0; i < FAST_EXTENSIONS && is_ip6_options(*proto); i++) {
		const struct ip6_extension *extension;
		__u64 extension_len;

		keep_below(offset, FRAME_MAX_OFFSET);
		extension = (const void *)(frame->data + offset);
		if ((const char *)(extension + 1) > frame->data_end)
			return false;
		extension_len = (extension->len + 1) * 8;
		if (extension_len > *len)
			return false;
		*proto = extension->next;
		offset += extension_len;
		*len -= extension_len;
	}
	keep_below(offset, FRAME_MAX_OFFSET);
	*at = frame->data + offset;
	return true;
}

static __always_inline facts fast_ipv6(const struct frame *frame, const char *at)
{
	const struct ipv6hdr *ip = (const void *)at;
	__u64 len, offset = at - frame->data;
	__u8 proto;
	facts l4;

	if (at + sizeof(*ip) > frame->data_end)
		return 0;
	if (*(const __u8 *)at >> 4 != 6)
		return 0;
	len = bpf_ntohs(ip->payload_len);
	if (offset + sizeof(*ip) + len > frame->len)
		return 0;
	proto = ip->nexthdr;
	at += sizeof(*ip);
	if (is_ip6_options(proto) && !fast_ip6_extensions(frame, &at, &len, &proto))
		return 0;
	l4 = fast_l4(frame, at, len, proto);
	return l4 ? l4 | CELL_IPV6 | offset << FACTS_IP_SHIFT : 0;
}

/* 0: not such a packet. */
static __always_inline facts parse_fast(const struct frame *frame)
{
	const char *at = frame->data + sizeof(struct ethhdr);
	__be16 proto;

	if (at > frame->data_end || frame->skb->gso_size)
		return 0;
	/* The EtherType is what is in front of *at, with tags and without. */
	proto = ((const __be16 *)at)[-1];
#pragma unroll
	for (int i = 0; i < FAST_TAGS; i++) {
		if (is_ip(proto))
			break;
		if (!is_vlan(proto))
			return 0;
		at += sizeof(struct vlan_tag);
		if (at > frame->data_end)
			return 0;
		proto = ((const __be16 *)at)[-1];
	}
	if (proto == bpf_htons(ETH_P_IP))
		return fast_ipv4(frame, at);
	return proto == bpf_htons(ETH_P_IPV6) ? fast_ipv6(frame, at) : 0;
}

/* Whether what parse_fast() saw may have a tunnel in it. */
static __always_inline bool fast_tunnel(const struct frame *frame, facts facts)
{
	return is_class(facts, IP_UDP) && udp_tunnel(ports_of(frame, facts) >> 16) != TUNNEL_NONE;
}

#endif
