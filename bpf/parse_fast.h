/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * The fast parser: what nearly all packets are (up to two tags in the bytes; IPv4 without options
 * or IPv6 with a few extension headers; TCP, UDP or ICMP; whole, correct, linear, not a fragment,
 * not a GSO buffer), in one pass and with few loads.
 *
 * It says of such a packet what the parsers of the layers say, or that it is none. It knows no
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

/* The next three: the header at `at`, of which and of what follows the IP packet has len bytes. */
static __always_inline bool fast_tcp(const struct frame *frame, const char *at, __u64 len,
				     struct facts *facts)
{
	const struct tcphdr *tcp = (const void *)at;

	if (at + sizeof(*tcp) > frame->data_end)
		return false;
	facts->ports_offset = at - frame->data;
	facts->cell |= CELL_TCP | (at[TCP_FLAGS_OFFSET] & CELL_FLAGS);
	if (!tcp->window)
		facts->cell |= CELL_ZERO_WINDOW;
	return tcp->doff * 4 >= sizeof(*tcp) && tcp->doff * 4 <= len;
}

static __always_inline bool fast_udp(const struct frame *frame, const char *at, __u64 len,
				     struct facts *facts)
{
	const struct udphdr *udp = (const void *)at;

	if (at + sizeof(*udp) > frame->data_end)
		return false;
	facts->ports_offset = at - frame->data;
	facts->cell |= CELL_IP | IP_UDP;
	return len >= sizeof(*udp) && bpf_ntohs(udp->len) >= sizeof(*udp);
}

static __always_inline bool fast_icmp(const struct frame *frame, const char *at, __u64 len,
				      enum ip_class class, struct facts *facts)
{
	facts->icmp_offset = at - frame->data;
	facts->cell |= CELL_IP | class;
	return len >= (class == IP_ICMP ? ICMP_HEADER_LEN : ICMPV6_HEADER_LEN);
}

/* Mobility headers are so rare that they are left out. */
static __always_inline bool is_ip6_options(__u8 proto)
{
	return proto == IPPROTO_HOPOPTS || proto == IPPROTO_ROUTING || proto == IPPROTO_DSTOPTS;
}

static __always_inline bool fast_l4(const struct frame *frame, const char *at, __u64 len,
				    struct facts *facts)
{
	facts->ports_offset = 0;
	facts->icmp_offset = 0;
	switch (facts->proto) {
	case IPPROTO_TCP:
		return fast_tcp(frame, at, len, facts);
	case IPPROTO_UDP:
		return fast_udp(frame, at, len, facts);
	case IPPROTO_ICMP:
		return fast_icmp(frame, at, len, IP_ICMP, facts);
	case IPPROTO_ICMPV6:
		return fast_icmp(frame, at, len, IP_ICMPV6, facts);
	default:
		return false;
	}
}

static __always_inline bool fast_ipv4(const struct frame *frame, const char *at,
				      struct facts *facts)
{
	const struct iphdr *ip = (const void *)at;
	__u64 total;

	if (at + sizeof(*ip) > frame->data_end)
		return false;
	if (*(const __u8 *)at != IP4_PLAIN)
		return false;
	if (ip->frag_off & bpf_htons(IP_MORE_FRAGMENTS | IP_FRAGMENT_OFFSET))
		return false;
	total = bpf_ntohs(ip->tot_len);
	facts->ip_offset = at - frame->data;
	if (total < sizeof(*ip) || facts->ip_offset + total > frame->len)
		return false;
	facts->cell = 0;
	facts->proto = ip->protocol;
	return fast_l4(frame, at + sizeof(*ip), total - sizeof(*ip), facts);
}

/* The extension headers at *at, *len bytes in front of the packet's end. */
static __always_inline bool fast_ip6_extensions(const struct frame *frame, const char **at,
						__u64 *len, struct facts *facts)
{
	__u64 offset = *at - frame->data;

	for (int i = 0; i < FAST_EXTENSIONS && is_ip6_options(facts->proto); i++) {
		const struct ip6_extension *extension;
		__u64 extension_len;

		keep_below(offset, FRAME_MAX_OFFSET);
		extension = (const void *)(frame->data + offset);
		if ((const char *)(extension + 1) > frame->data_end)
			return false;
		extension_len = (extension->len + 1) * 8;
		if (extension_len > *len)
			return false;
		facts->proto = extension->next;
		offset += extension_len;
		*len -= extension_len;
	}
	keep_below(offset, FRAME_MAX_OFFSET);
	*at = frame->data + offset;
	return true;
}

static __always_inline bool fast_ipv6(const struct frame *frame, const char *at,
				      struct facts *facts)
{
	const struct ipv6hdr *ip = (const void *)at;
	__u64 len;

	if (at + sizeof(*ip) > frame->data_end)
		return false;
	if (*(const __u8 *)at >> 4 != 6)
		return false;
	len = bpf_ntohs(ip->payload_len);
	facts->ip_offset = at - frame->data;
	if (facts->ip_offset + sizeof(*ip) + len > frame->len)
		return false;
	facts->cell = CELL_IPV6;
	facts->proto = ip->nexthdr;
	at += sizeof(*ip);
	if (is_ip6_options(facts->proto) && !fast_ip6_extensions(frame, &at, &len, facts))
		return false;
	return fast_l4(frame, at, len, facts);
}

/* True: *facts are those of this packet. */
static __always_inline bool parse_fast(const struct frame *frame, struct facts *facts)
{
	const char *at = frame->data + sizeof(struct ethhdr);
	__be16 proto;

	if (at > frame->data_end || frame->skb->gso_size)
		return false;
	/* The EtherType is what is in front of *at, with tags and without. */
	proto = ((const __be16 *)at)[-1];
#pragma unroll
	for (int i = 0; i < FAST_TAGS; i++) {
		if (!is_vlan(bpf_ntohs(proto)))
			break;
		at += sizeof(struct vlan_tag);
		if (at > frame->data_end)
			return false;
		proto = ((const __be16 *)at)[-1];
	}
	if (proto == bpf_htons(ETH_P_IP))
		return fast_ipv4(frame, at, facts);
	return proto == bpf_htons(ETH_P_IPV6) && fast_ipv6(frame, at, facts);
}

/* Whether what parse_fast() saw may have a tunnel in it. */
static __always_inline bool fast_tunnel(const struct frame *frame, const struct facts *facts)
{
	return is_class(facts, IP_UDP) && udp_tunnel(ports_of(frame, facts) >> 16) != TUNNEL_NONE;
}

#endif
