/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * Whether a packet is one of the job's. src/model/filter.rs states the rule; tests compare the two.
 */
#ifndef TELEGEN_FILTER_H
#define TELEGEN_FILTER_H

#include "config.h"
#include "facts.h"

static __always_inline bool in_cidr(const volatile struct cidr *cidr, __u8 version,
				    const __u64 address[2])
{
	return cidr->version == version && (address[0] & cidr->mask[0]) == cidr->net[0] &&
	       (address[1] & cidr->mask[1]) == cidr->net[1];
}

static __always_inline bool filter_addresses(const struct frame *frame, facts facts)
{
	struct addresses addresses = addresses_of(frame, facts);
	__u8 version = ip_version_of(facts);

	if (config.filter.src.version && !in_cidr(&config.filter.src, version, addresses.src))
		return false;
	return !config.filter.dst.version || in_cidr(&config.filter.dst, version, addresses.dst);
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

static __always_inline bool filter_ports(const struct frame *frame, facts facts)
{
	__u32 ports;

	if (!ports_offset_of(facts))
		return false;
	ports = ports_of(frame, facts);
	if (config.filter.sport_count &&
	    !in_ranges(config.filter.sports, config.filter.sport_count, bpf_ntohs((__u16)ports)))
		return false;
	return !config.filter.dport_count ||
	       in_ranges(config.filter.dports, config.filter.dport_count, bpf_ntohs(ports >> 16));
}

static __always_inline bool filter_ip(const struct frame *frame, facts facts)
{
	if (!ip_offset_of(facts))
		return false;
	if (config.filter.any_proto) {
		__u64 proto = proto_of(facts);

		if (!proto_known(facts))
			return false;
		keep_below(proto, 0xff);
		if (!(config.filter.protos[proto >> 6] >> (proto & 63) & 1))
			return false;
	}
	if (config.filter.any_dscp && !(config.filter.dscps >> (tos_of(frame, facts) >> 2) & 1))
		return false;
	if ((config.filter.sport_count || config.filter.dport_count) && !filter_ports(frame, facts))
		return false;
	if (config.filter.src.version || config.filter.dst.version)
		return filter_addresses(frame, facts);
	return true;
}

static __always_inline bool filter_passes(const struct frame *frame, facts facts)
{
	if (config.filter.vlan && outer_vlan(frame, facts) != config.filter.vlan)
		return false;
	return !config.filter.any_ip || filter_ip(frame, facts);
}

#endif
