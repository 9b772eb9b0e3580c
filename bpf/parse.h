/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* What a frame is: the parsers of the layers, one after the other. */
#ifndef TELEGEN_PARSE_H
#define TELEGEN_PARSE_H

#include "parse_eth.h"
#include "parse_ip.h"
#include "parse_l4.h"

/* What follows Ethernet, or is in a tunnel: an IP packet, or nothing of interest. */
static __always_inline void parse_network(const struct frame *frame, struct packet *packet,
					  int next)
{
	switch (next) {
	case ETH_P_IP:
		next = parse_ipv4(frame, packet);
		break;
	case ETH_P_IPV6:
		next = parse_ipv6(frame, packet);
		if (next != STOP)
			next = parse_ip6_extensions(frame, packet, next);
		break;
	default:
		return;
	}
	forget();
	if (packet->ip_class != IP_TRUNCATED)
		packet->ip_class = ip_class(packet->proto);
	forget();
	if (next != STOP)
		parse_l4(frame, packet, next);
	forget();
}

/* The whole frame, layer by layer. */
static __always_inline void parse(const struct frame *frame, struct packet *packet)
{
	int next = parse_ethernet(frame, packet);

	forget();
	parse_network(frame, packet, next);
}

/* What is in a tunnel that is inside of outer; next is what parse_tunnel() said. */
static __always_inline void parse_inner(const struct frame *frame, const struct packet *outer,
					struct packet *packet, int next)
{
	packet->offset = outer->offset;
	packet->gso_size = outer->gso_size;
	switch (next) {
	case ETH_P_TEB:
		next = parse_ethernet(frame, packet);
		break;
	case ETH_P_IP:
		packet->eth_class = ETH_IPV4;
		break;
	default:
		packet->eth_class = ETH_IPV6;
	}
	forget();
	parse_network(frame, packet, next);
}

#endif
