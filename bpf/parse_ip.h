/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* IPv4, IPv6 and the extension headers; the contract is in layer.h. */
#ifndef TELEGEN_PARSE_IP_H
#define TELEGEN_PARSE_IP_H

#include <linux/in.h>
#include <linux/in6.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include "layer.h"

#define MAX_IPV6_EXTENSIONS 8

#define IP_MORE_FRAGMENTS   0x2000
#define IP_FRAGMENT_OFFSET  0x1fff
#define IP6_MORE_FRAGMENTS  0x0001
#define IP6_FRAGMENT_OFFSET 0xfff8

/* Not in every distribution's headers. */
#define PROTO_EIGRP 88
#define PROTO_OSPF  89
#define PROTO_VRRP  112
#define PROTO_L2TP  115

struct ip6_extension {
	__u8 next;
	__u8 len; /* in 8 bytes, without the first 8 */
};

struct ip6_fragment {
	__u8 next;
	__u8 reserved;
	__be16 offset;
	__be32 id;
};

/*
 * IPv4 with its options. A total length beyond the frame is malformed, yet everything in the frame
 * is read; one below the header's is not to be believed at all, as version and header length. 0 is
 * what TSO of more than 64 KiB has.
 */
static __always_inline int parse_ipv4(const struct frame *frame, struct packet *packet)
{
	__u64 header_len, total, room;
	const struct iphdr *ip;
	struct scratch scratch;
	__u16 fragment;

	packet->ip_class = IP_TRUNCATED;
	ip = frame_at(frame, packet->offset, sizeof(*ip), &scratch);
	if (!ip)
		return packet_error(packet, ERROR_TRUNCATED_IP);
	header_len = ip->ihl * 4;
	total = bpf_ntohs(ip->tot_len);
	room = frame->len - packet->offset;
	if (!total && packet->gso_size)
		total = room;
	if (ip->version != 4 || header_len < sizeof(*ip) || total < header_len)
		return packet_error(packet, ERROR_MALFORMED_IP);
	if (total > room) {
		packet_error(packet, ERROR_MALFORMED_IP);
		total = room;
	}
	packet->ip_offset = packet->offset;
	packet->ip_end = packet->offset + total;
	packet->proto = ip->protocol;
	packet->ip_class = IP_OTHER; /* known now, and named by ip_class() */
	packet->offset += header_len;
	fragment = bpf_ntohs(ip->frag_off);
	if (fragment & IP_FRAGMENT_OFFSET)
		packet->fragment = FRAGMENT_LATER;
	else if (fragment & IP_MORE_FRAGMENTS)
		packet->fragment = FRAGMENT_FIRST;
	if (header_len > room)
		return packet_error(packet, ERROR_TRUNCATED_IP);
	packet->ip_header = header_len;
	return packet->fragment == FRAGMENT_LATER ? STOP : packet->proto;
}

/*
 * The fixed IPv6 header. A payload length of 0 means "none", but not with a hop-by-hop header (a
 * jumbogram, RFC 2675) or in TSO of more than 64 KiB.
 */
static __always_inline int parse_ipv6(const struct frame *frame, struct packet *packet)
{
	const struct ipv6hdr *ip;
	struct scratch scratch;
	__u64 payload, room;

	packet->ip_class = IP_TRUNCATED;
	ip = frame_at(frame, packet->offset, sizeof(*ip), &scratch);
	if (!ip)
		return packet_error(packet, ERROR_TRUNCATED_IP);
	if (ip->version != 6)
		return packet_error(packet, ERROR_MALFORMED_IP);
	packet->ip_offset = packet->offset;
	packet->proto = ip->nexthdr;
	payload = bpf_ntohs(ip->payload_len);
	packet->offset += sizeof(*ip);
	room = frame->len - packet->offset;
	if (!payload && (packet->gso_size || ip->nexthdr == IPPROTO_HOPOPTS))
		payload = room;
	if (payload > room) {
		packet_error(packet, ERROR_MALFORMED_IP);
		payload = room;
	}
	packet->ip_end = packet->offset + payload;
	return packet->proto;
}

static __always_inline bool is_ip6_extension(int proto)
{
	return proto == IPPROTO_HOPOPTS || proto == IPPROTO_ROUTING || proto == IPPROTO_FRAGMENT ||
	       proto == IPPROTO_DSTOPTS || proto == IPPROTO_MH;
}

/* The fragment header. A later fragment's protocol is what the header says, and nothing behind it
 * can be read. */
static __always_inline int parse_ip6_fragment(const struct frame *frame, struct packet *packet)
{
	const struct ip6_fragment *fragment;
	struct scratch scratch;
	__u16 offset;

	fragment = frame_at(frame, packet->offset, sizeof(*fragment), &scratch);
	if (!fragment || packet->offset + sizeof(*fragment) > packet->ip_end)
		return packet_error(packet, ERROR_TRUNCATED_IP);
	offset = bpf_ntohs(fragment->offset);
	packet->proto = fragment->next;
	packet->offset += sizeof(*fragment);
	if (!(offset & IP6_FRAGMENT_OFFSET)) {
		if (offset & IP6_MORE_FRAGMENTS)
			packet->fragment = FRAGMENT_FIRST;
		return packet->proto;
	}
	packet->fragment = FRAGMENT_LATER;
	packet->ip_class = IP_OTHER; /* known, although it may be an extension header */
	return STOP;
}

static __always_inline int parse_ip6_option(const struct frame *frame, struct packet *packet)
{
	const struct ip6_extension *extension;
	struct scratch scratch;
	__u64 len;

	extension = frame_at(frame, packet->offset, sizeof(*extension), &scratch);
	if (!extension)
		return packet_error(packet, ERROR_TRUNCATED_IP);
	len = (extension->len + 1) * 8;
	if (packet->offset + len > packet->ip_end)
		return packet_error(packet, ERROR_TRUNCATED_IP);
	packet->proto = extension->next;
	packet->offset += len;
	return packet->proto;
}

/*
 * All extension headers in front of the protocol. ESP and AH are protocols here, not extension
 * headers: what is behind ESP cannot be read, and who looks for IPsec looks for both.
 */
static __always_inline int parse_ip6_extensions(const struct frame *frame, struct packet *packet,
						int proto)
{
	for (int i = 0; i < MAX_IPV6_EXTENSIONS && is_ip6_extension(proto); i++) {
		forget();
		if (proto == IPPROTO_FRAGMENT)
			proto = parse_ip6_fragment(frame, packet);
		else
			proto = parse_ip6_option(frame, packet);
	}
	if (is_ip6_extension(proto))
		return packet_error(packet, ERROR_TOO_DEEP);
	if (proto != STOP)
		packet->ip_class = IP_OTHER; /* known now, and named by ip_class() */
	return proto;
}

static __always_inline enum ip_class ip_class(__u8 proto)
{
	switch (proto) {
	case IPPROTO_TCP:
		return IP_TCP;
	case IPPROTO_UDP:
		return IP_UDP;
	case IPPROTO_ICMP:
		return IP_ICMP;
	case IPPROTO_ICMPV6:
		return IP_ICMPV6;
	case IPPROTO_IGMP:
		return IP_IGMP;
	case IPPROTO_SCTP:
		return IP_SCTP;
	case IPPROTO_GRE:
		return IP_GRE;
	case IPPROTO_ESP:
		return IP_ESP;
	case IPPROTO_AH:
		return IP_AH;
	case PROTO_OSPF:
		return IP_OSPF;
	case IPPROTO_PIM:
		return IP_PIM;
	case PROTO_VRRP:
		return IP_VRRP;
	case IPPROTO_IPIP:
		return IP_IPIP;
	case IPPROTO_IPV6:
		return IP_IPV6;
	case PROTO_EIGRP:
		return IP_EIGRP;
	case IPPROTO_RSVP:
		return IP_RSVP;
	case IPPROTO_DCCP:
		return IP_DCCP;
	case PROTO_L2TP:
		return IP_L2TP;
	case IPPROTO_NONE:
		return IP_NO_NEXT;
	default:
		return IP_OTHER;
	}
}

#endif
