/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* Ports, and the headers whose errors are reported; the contract is in layer.h. */
#ifndef TELEGEN_PARSE_L4_H
#define TELEGEN_PARSE_L4_H

#include <linux/in.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include "layer.h"

#define TCP_FLAGS_OFFSET  13
#define SCTP_HEADER_LEN	  12
#define ICMP_HEADER_LEN	  8 /* RFC 792: no message is shorter */
#define ICMPV6_HEADER_LEN 4 /* RFC 4443, 2.1 */

/* The first len bytes of the L4 header; NULL if the IP packet ends before. */
static __always_inline const void *l4_at(const struct frame *frame, const struct packet *packet,
					 __u32 len, struct scratch *scratch)
{
	if (packet->offset + len > packet->ip_end)
		return NULL;
	return frame_at(frame, packet->offset, len, scratch);
}

/* Ports of a header of which no more than that is asked, or that is cut. */
static __always_inline int parse_ports(const struct frame *frame, struct packet *packet)
{
	struct scratch scratch;

	if (l4_at(frame, packet, 4, &scratch))
		packet->ports_offset = packet->offset;
	return STOP;
}

static __always_inline int parse_cut_ports(const struct frame *frame, struct packet *packet)
{
	parse_ports(frame, packet);
	return packet_error(packet, ERROR_TRUNCATED_L4);
}

static __always_inline int parse_tcp(const struct frame *frame, struct packet *packet)
{
	struct scratch scratch;
	const struct tcphdr *tcp = l4_at(frame, packet, sizeof(*tcp), &scratch);
	__u64 len;

	if (!tcp)
		return parse_cut_ports(frame, packet);
	packet->ports_offset = packet->offset;
	packet->tcp = TCP_THERE | ((const __u8 *)tcp)[TCP_FLAGS_OFFSET];
	len = tcp->doff * 4;
	if (len < sizeof(*tcp))
		return packet_error(packet, ERROR_MALFORMED_L4);
	packet->offset += len;
	if (packet->offset > packet->ip_end)
		return packet_error(packet, ERROR_TRUNCATED_L4);
	packet->l4_payload = packet->offset;
	return STOP;
}

static __always_inline int parse_udp(const struct frame *frame, struct packet *packet)
{
	struct scratch scratch;
	const struct udphdr *udp = l4_at(frame, packet, sizeof(*udp), &scratch);

	if (!udp)
		return parse_cut_ports(frame, packet);
	packet->ports_offset = packet->offset;
	if (bpf_ntohs(udp->len) < sizeof(*udp))
		return packet_error(packet, ERROR_MALFORMED_L4);
	packet->offset += sizeof(*udp);
	packet->l4_payload = packet->offset;
	return STOP;
}

static __always_inline int parse_sctp(const struct frame *frame, struct packet *packet)
{
	if (packet->offset + SCTP_HEADER_LEN > packet->ip_end)
		return parse_cut_ports(frame, packet);
	return parse_ports(frame, packet);
}

static __always_inline int parse_icmp(struct packet *packet, __u32 header_len)
{
	if (packet->offset + header_len > packet->ip_end)
		return packet_error(packet, ERROR_TRUNCATED_L4);
	packet->icmp_offset = packet->offset;
	return STOP;
}

/* Ports, where the protocol has some, and the headers whose errors are reported. Nothing behind
 * them is read. */
static __always_inline int parse_l4(const struct frame *frame, struct packet *packet, int proto)
{
	switch (proto) {
	case IPPROTO_TCP:
		return parse_tcp(frame, packet);
	case IPPROTO_UDP:
		return parse_udp(frame, packet);
	case IPPROTO_SCTP:
		return parse_sctp(frame, packet);
	case IPPROTO_DCCP:
	case IPPROTO_UDPLITE:
		return parse_ports(frame, packet);
	case IPPROTO_ICMP:
		return parse_icmp(packet, ICMP_HEADER_LEN);
	case IPPROTO_ICMPV6:
		return parse_icmp(packet, ICMPV6_HEADER_LEN);
	default:
		return STOP;
	}
}

#endif
