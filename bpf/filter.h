/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * Whether a packet is one of the job's. src/model/filter.rs states the rule; tests compare the two.
 */
#ifndef TELEGEN_FILTER_H
#define TELEGEN_FILTER_H

#include "config.h"
#include "parse.h"

static __always_inline bool in_cidr(const volatile struct cidr *cidr, __u8 version,
				    const __u32 addr[4])
{
	if (cidr->version != version)
		return false;
	for (int i = 0; i < 4; i++)
		if ((addr[i] & cidr->mask[i]) != cidr->net[i])
			return false;
	return true;
}

static __always_inline bool filter_addresses(const struct frame *frame, const struct packet *packet)
{
	__u32 src[4], dst[4];

	parse_addresses(frame, packet, src, dst);
	if (config.filter.src.version && !in_cidr(&config.filter.src, packet->ip_version, src))
		return false;
	return !config.filter.dst.version || in_cidr(&config.filter.dst, packet->ip_version, dst);
}

static __always_inline bool in_ranges(const volatile struct port_range *ranges, __u32 count,
				      __u16 port)
{
#pragma unroll
	for (__u32 i = 0; i < MAX_PORT_RANGES; i++)
		if (i < count && ranges[i].lo <= port && port <= ranges[i].hi)
			return true;
	return false;
}

static __always_inline bool filter_ip(const struct frame *frame, const struct packet *packet)
{
	if (!packet->ip_version)
		return false;
	if (config.filter.any_proto) {
		if (packet->ip_class == IP_TRUNCATED)
			return false;
		if (!(config.filter.protos[packet->proto >> 6] >> (packet->proto & 63) & 1))
			return false;
	}
	if (config.filter.any_dscp && !(config.filter.dscps >> (packet->dscp & 63) & 1))
		return false;
	if ((config.filter.sport_count || config.filter.dport_count) && !packet->has_ports)
		return false;
	if (config.filter.sport_count &&
	    !in_ranges(config.filter.sports, config.filter.sport_count, packet->sport))
		return false;
	if (config.filter.dport_count &&
	    !in_ranges(config.filter.dports, config.filter.dport_count, packet->dport))
		return false;
	if (config.filter.src.version || config.filter.dst.version)
		return filter_addresses(frame, packet);
	return true;
}

static __always_inline bool filter_passes(const struct frame *frame, const struct packet *packet)
{
	if (config.filter.vlan && !(packet->tagged && packet->vlan == config.filter.vlan))
		return false;
	return !config.filter.any_ip || filter_ip(frame, packet);
}

#endif
