/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* Ethernet and VLAN tags; the contract is in layer.h. */
#ifndef TELEGEN_PARSE_ETH_H
#define TELEGEN_PARSE_ETH_H

#include <linux/if_ether.h>
#include "layer.h"

#define MAX_VLAN_TAGS 3

/* Not in every distribution's headers. */
#define ETHERTYPE_QINQ_OLD 0x9100
#define ETHERTYPE_CFM	   0x8902
#define ETHERTYPE_LLDP	   0x88cc

struct vlan_tag {
	__be16 tci;
	__be16 proto;
};

/* As a switch: of "or" the compiler would make arithmetic, which takes longer than a branch that
 * hardly ever goes another way. */
static __always_inline bool is_vlan(__be16 proto)
{
	switch (bpf_ntohs(proto)) {
	case ETH_P_8021Q:
	case ETH_P_8021AD:
	case ETHERTYPE_QINQ_OLD:
		return true;
	default:
		return false;
	}
}

static __always_inline enum eth_class eth_class(__u16 proto)
{
	switch (proto) {
	case ETH_P_IP:
		return ETH_IPV4;
	case ETH_P_IPV6:
		return ETH_IPV6;
	case ETH_P_ARP:
		return ETH_ARP;
	case ETH_P_MPLS_UC:
	case ETH_P_MPLS_MC:
		return ETH_MPLS;
	case ETHERTYPE_LLDP:
		return ETH_LLDP;
	case ETH_P_SLOW:
		return ETH_SLOW;
	case ETH_P_1588:
		return ETH_PTP;
	case ETH_P_MACSEC:
		return ETH_MACSEC;
	case ETH_P_PAE:
		return ETH_EAPOL;
	case ETH_P_PPP_DISC:
	case ETH_P_PPP_SES:
		return ETH_PPPOE;
	case ETHERTYPE_CFM:
		return ETH_CFM;
	default:
		/* Up to 1500 it is a length (IEEE 802.3 3.2.6); from there to 0x5ff it is nothing.
		 */
		return proto <= ETH_DATA_LEN ? ETH_LLC : ETH_OTHER;
	}
}

/* Ethernet at packet->offset and up to MAX_VLAN_TAGS tags, packet->tags of which (one in vlan_tci)
 * are not in the bytes. */
static __always_inline int parse_ethernet(const struct frame *frame, struct packet *packet)
{
	const struct ethhdr *eth;
	struct scratch scratch;
	__be16 proto;

	packet->eth_class = ETH_TRUNCATED;
	eth = frame_at(frame, packet->offset, sizeof(*eth), &scratch);
	if (!eth)
		return packet_error(packet, ERROR_TRUNCATED_ETH);
	proto = eth->h_proto;
	packet->offset += sizeof(*eth);
#pragma unroll
	for (int i = 0; i < MAX_VLAN_TAGS; i++) {
		const struct vlan_tag *tag;

		if (!is_vlan(proto) || packet->tags == MAX_VLAN_TAGS)
			break;
		tag = frame_at(frame, packet->offset, sizeof(*tag), &scratch);
		if (!tag)
			return packet_error(packet, ERROR_TRUNCATED_ETH);
		packet->tags++;
		proto = tag->proto;
		packet->offset += sizeof(*tag);
	}
	packet->eth_class = eth_class(bpf_ntohs(proto));
	if (is_vlan(proto))
		return packet_error(packet, ERROR_TOO_DEEP);
	return bpf_ntohs(proto);
}

#endif
