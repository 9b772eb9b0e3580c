/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * The health of the traffic, of every packet that passes the filter: DSCP and ECN, TTL, ICMP
 * errors, TCP windows, IPv4 header checksums, who a frame is for. Flags of TCP are in the cells,
 * runts and jumbo frames in the lengths. Always of the outer headers.
 */
#ifndef TELEGEN_HEALTH_H
#define TELEGEN_HEALTH_H

#include "config.h"
#include "count.h"
#include "facts.h"

#define TCP_FIN_SYN_RST 0x07

/* RFC 792. The kernel's header for them wants a C library. */
#define ICMP_UNREACHABLE   3
#define ICMP_TOO_BIG_CODE  4 /* fragmentation needed and DF set */
#define ICMP_TIME_EXCEEDED 11

/* RFC 4443. */
#define ICMPV6_UNREACHABLE   1
#define ICMPV6_TOO_BIG	     2
#define ICMPV6_TIME_EXCEEDED 3

static __always_inline void health_add(struct cpu *cpu, enum health_event event,
				       const struct weight *weight)
{
	cpu->health[event] += weight->packets;
}

/* All but unicast: that is the rest. */
static __always_inline void count_cast(struct cpu *cpu, const struct frame *frame,
				       const struct weight *weight)
{
	struct scratch scratch;
	const __u8 *to = frame_at(frame, 0, ETH_ALEN, &scratch);

	if (!to)
		health_add(cpu, HEALTH_NO_DESTINATION, weight);
	else if (!(to[0] & 1))
		return;
	else if ((to[0] & to[1] & to[2] & to[3] & to[4] & to[5]) == 0xff)
		health_add(cpu, HEALTH_BROADCAST, weight);
	else
		health_add(cpu, HEALTH_MULTICAST, weight);
}

static __always_inline enum health_event icmp4_event(__u8 type, __u8 code)
{
	if (type == ICMP_UNREACHABLE)
		return code == ICMP_TOO_BIG_CODE ? HEALTH_ICMP_TOO_BIG : HEALTH_ICMP_UNREACHABLE;
	return type == ICMP_TIME_EXCEEDED ? HEALTH_ICMP_TIME_EXCEEDED : HEALTH_COUNT;
}

static __always_inline enum health_event icmp6_event(__u8 type)
{
	switch (type) {
	case ICMPV6_UNREACHABLE:
		return HEALTH_ICMP_UNREACHABLE;
	case ICMPV6_TOO_BIG:
		return HEALTH_ICMP_TOO_BIG;
	case ICMPV6_TIME_EXCEEDED:
		return HEALTH_ICMP_TIME_EXCEEDED;
	default:
		return HEALTH_COUNT;
	}
}

static __always_inline void count_icmp(struct cpu *cpu, const struct frame *frame, facts facts,
				       const struct weight *weight)
{
	struct scratch scratch;
	const __u8 *at = frame_at(frame, icmp_offset_of(facts), 2, &scratch);
	enum health_event event;

	if (!at)
		return;
	event = is_class(facts, IP_ICMP) ? icmp4_event(at[0], at[1]) : icmp6_event(at[0]);
	if (event == HEALTH_ICMP_UNREACHABLE)
		health_add(cpu, HEALTH_ICMP_UNREACHABLE, weight);
	else if (event == HEALTH_ICMP_TOO_BIG)
		health_add(cpu, HEALTH_ICMP_TOO_BIG, weight);
	else if (event == HEALTH_ICMP_TIME_EXCEEDED)
		health_add(cpu, HEALTH_ICMP_TIME_EXCEEDED, weight);
}

static __always_inline void count_ttl(struct cpu *cpu, __u8 ttl, const struct weight *weight)
{
	if (ttl > 1)
		return;
	if (ttl)
		health_add(cpu, HEALTH_TTL_1, weight);
	else
		health_add(cpu, HEALTH_TTL_0, weight);
}

static __always_inline void count_window(struct cpu *cpu, facts facts, const struct weight *weight)
{
	if ((facts & CELL_ZERO_WINDOW) && !(facts & TCP_FIN_SYN_RST))
		health_add(cpu, HEALTH_TCP_ZERO_WINDOW, weight);
}

/* Of the packet of cpu->packet: the fast parser takes none that has options. */
static __always_inline void count_options(struct cpu *cpu, const struct weight *weight)
{
	if (cpu->packet.ip_header > sizeof(struct iphdr))
		cpu->ipv4_options += weight->packets;
}

static __always_inline void count_health(struct cpu *cpu, const struct frame *frame, facts facts,
					 const union ip_head *ip, const struct weight *weight)
{
	count_cast(cpu, frame, weight);
	if (!ip)
		return;
	if (!(facts & CELL_IPV6)) {
		cpu->tos[tos_in(ip, true)] += weight->packets;
		count_ttl(cpu, ip->v4.ttl, weight);
	} else {
		cpu->tos[tos_in(ip, false)] += weight->packets;
		count_ttl(cpu, ip->v6_hop_limit, weight);
	}
	if (is_whole_tcp(facts))
		count_window(cpu, facts, weight);
	else if (facts & FACTS_ICMP)
		count_icmp(cpu, frame, facts, weight);
}

#endif
