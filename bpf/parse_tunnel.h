/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * What is inside of what: tunnels of the traffic itself. The contract is in layer.h;
 * packet->tunnel says which tunnel it was, TUNNEL_NONE if there is none or its header is cut.
 *
 * Fragments and packets with broken headers are not opened, and of others only the first tunnel.
 */
#ifndef TELEGEN_PARSE_TUNNEL_H
#define TELEGEN_PARSE_TUNNEL_H

#include "gre.h"
#include "parse_eth.h"
#include "parse_l4.h"

#define PORT_VXLAN  4789
#define PORT_GENEVE 6081

#define MAX_MPLS_LABELS 8

struct vxlan {
	__u8 flags;
	__u8 reserved[7];
};

#define VXLAN_VNI 0x08 /* RFC 7348: a packet without this flag is not to be believed */

struct geneve {
	__u8 version_len; /* two bits version, six the length of the options in 4 bytes */
	__u8 flags;
	__be16 proto;
	__be32 vni;
};

/* Which tunnel such a destination port is. */
static __always_inline enum tunnel udp_tunnel(__be16 port)
{
	if (port == bpf_htons(PORT_VXLAN))
		return TUNNEL_VXLAN;
	if (port == bpf_htons(PORT_GENEVE))
		return TUNNEL_GENEVE;
	return TUNNEL_NONE;
}

/* len bytes at packet->offset; NULL if the IP packet ends before. */
static __always_inline const void *tunnel_at(const struct frame *frame, const struct packet *packet,
					     __u32 len, struct scratch *scratch)
{
	if (packet->offset + len > packet->ip_end)
		return NULL;
	return frame_at(frame, packet->offset, len, scratch);
}

static __always_inline bool is_inner_proto(int proto)
{
	return proto == ETH_P_IP || proto == ETH_P_IPV6 || proto == ETH_P_TEB;
}

static __always_inline int parse_vxlan(const struct frame *frame, struct packet *packet)
{
	struct scratch scratch;
	const struct vxlan *vxlan = tunnel_at(frame, packet, sizeof(*vxlan), &scratch);

	if (!vxlan || !(vxlan->flags & VXLAN_VNI))
		return STOP;
	packet->offset += sizeof(*vxlan);
	return ETH_P_TEB;
}

static __always_inline int parse_geneve(const struct frame *frame, struct packet *packet)
{
	struct scratch scratch;
	const struct geneve *geneve = tunnel_at(frame, packet, sizeof(*geneve), &scratch);
	int proto;

	if (!geneve || geneve->version_len >> 6)
		return STOP;
	proto = bpf_ntohs(geneve->proto);
	packet->offset += sizeof(*geneve) + (geneve->version_len & 0x3f) * 4;
	if (packet->offset > packet->ip_end || !is_inner_proto(proto))
		return STOP;
	return proto;
}

static __always_inline int parse_gre_tunnel(const struct frame *frame, struct packet *packet)
{
	struct scratch scratch;
	const struct gre *gre = tunnel_at(frame, packet, sizeof(*gre), &scratch);
	int proto;

	if (!gre || !gre_readable(gre))
		return STOP;
	proto = bpf_ntohs(gre->proto);
	packet->offset += gre_len(gre);
	if (packet->offset > packet->ip_end || !is_inner_proto(proto))
		return STOP;
	return proto;
}

/* The stack of labels at packet->offset, and the IP version that the first bits below it are. */
static __always_inline int parse_mpls(const struct frame *frame, struct packet *packet)
{
	struct scratch scratch;
	const __u8 *at;

	for (int i = 0; i < MAX_MPLS_LABELS; i++) {
		bool bottom;

		forget();
		at = frame_at(frame, packet->offset, 4, &scratch);
		if (!at)
			return STOP;
		bottom = at[2] & 1;
		packet->offset += 4;
		if (!bottom)
			continue;
		at = frame_at(frame, packet->offset, 1, &scratch);
		if (!at)
			return STOP;
		if (*at >> 4 == 4)
			return ETH_P_IP;
		return *at >> 4 == 6 ? ETH_P_IPV6 : STOP;
	}
	return STOP;
}

static __always_inline int parse_udp_tunnel(const struct frame *frame, struct packet *packet)
{
	struct scratch scratch;
	const __be16 *port = frame_at(frame, packet->ports_offset + 2, sizeof(*port), &scratch);

	if (!port || !packet->l4_payload)
		return STOP;
	packet->tunnel = udp_tunnel(*port);
	packet->offset = packet->l4_payload;
	switch (packet->tunnel) {
	case TUNNEL_VXLAN:
		return parse_vxlan(frame, packet);
	case TUNNEL_GENEVE:
		return parse_geneve(frame, packet);
	default:
		return STOP;
	}
}

static __always_inline int parse_ip_tunnel(const struct frame *frame, struct packet *packet)
{
	switch (packet->proto) {
	case IPPROTO_UDP:
		return parse_udp_tunnel(frame, packet);
	case IPPROTO_GRE:
		packet->tunnel = TUNNEL_GRE;
		return parse_gre_tunnel(frame, packet);
	case IPPROTO_IPIP:
		packet->tunnel = TUNNEL_IPIP;
		return ETH_P_IP;
	case IPPROTO_IPV6:
		packet->tunnel = TUNNEL_IPIP;
		return ETH_P_IPV6;
	default:
		return STOP;
	}
}

/* Of a packet that has been parsed: packet->offset is behind what is known of it. */
static __always_inline int parse_tunnel(const struct frame *frame, struct packet *packet)
{
	int next = STOP;

	packet->tunnel = TUNNEL_NONE;
	/* Of one that claims more than there is, what is there will do: mirrors truncate. */
	if (packet->errors & ~(1U << ERROR_MALFORMED_IP) || packet->fragment)
		return STOP;
	if (packet->eth_class == ETH_MPLS) {
		packet->tunnel = TUNNEL_MPLS;
		next = parse_mpls(frame, packet);
	} else if (packet->ip_offset) {
		next = parse_ip_tunnel(frame, packet);
	}
	if (next == STOP)
		packet->tunnel = TUNNEL_NONE;
	return next;
}

#endif
