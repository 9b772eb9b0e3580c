/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* What was found in tunnels, counted. */
#ifndef TELEGEN_INNER_H
#define TELEGEN_INNER_H

#include "count.h"

/* Of a packet that has been parsed to its inner headers. */
static __always_inline void count_inner(struct cpu *cpu, const struct weight *weight)
{
	__u64 tunnel = cpu->packet.tunnel, class = cpu->inner_packet.ip_class;

	if (tunnel == TUNNEL_NONE)
		return;
	keep_below(tunnel, 7);
	counter_add(&cpu->tunnels[tunnel], weight);
	if (cpu->inner_packet.eth_class > ETH_IPV6) {
		counter_add(&cpu->inner_non_ip, weight);
		return;
	}
	keep_below(class, 31);
	counter_add(&cpu->inner[class], weight);
}

#endif
