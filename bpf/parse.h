/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* What a frame is: the parsers of the layers, one after the other. */
#ifndef TELEGEN_PARSE_H
#define TELEGEN_PARSE_H

#include "parse_eth.h"
#include "parse_ip.h"
#include "parse_l4.h"

/* The whole frame, layer by layer. */
static __always_inline void parse(const struct frame *frame, struct packet *packet)
{
	int next = parse_ethernet(frame, packet);

	forget();
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

#endif
