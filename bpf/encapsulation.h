/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * Mirror copies in GRE: which packets are this job's, and where in them the copied frame is.
 *
 * What SONiC's orchagent programs is the frame itself behind GRE (0x88be, ERSPAN type I); ASICs and
 * other switches send ERSPAN types II and III (draft-foschiano-erspan-03), Ethernet in GRE
 * (0x6558), and Mellanox's 0x8949. A kernel device for any of it is not needed.
 */
#ifndef TELEGEN_ENCAPSULATION_H
#define TELEGEN_ENCAPSULATION_H

#include "config.h"
#include "gre.h"
#include "parse_eth.h"
#include "parse_ip.h"

#define GRE_ERSPAN     0x88be /* type I and II */
#define GRE_ERSPAN_III 0x22eb
#define GRE_MELLANOX   0x8949
#define ERSPAN_II_LEN  8
#define ERSPAN_III_LEN 12
#define ERSPAN_SUB_LEN 8  /* the platform-specific subheader of type III */
#define MELLANOX_LEN   22 /* as SONiC's everflow tests skip it */
#define NO_SEQUENCE    (-1)

/* What a copy is. */
enum copy_kind {
	COPY_NONE, /* not of this job */
	COPY_UNREADABLE,
	COPY_FRAME,
};

struct copy {
	enum copy_kind kind;
	__u64 base; /* of the frame */
	__u64 len;  /* of the frame */
	__s64 sequence;
};

/* The outer IP header, as far as a copy needs it. */
struct outer {
	__u64 gre_offset;
	__u64 end;
	bool fragment;
};

static __always_inline bool is_from_to(const __u64 *src, const __u64 *dst)
{
	return src[0] == config.wrapping.src[0] && src[1] == config.wrapping.src[1] &&
	       dst[0] == config.wrapping.dst[0] && dst[1] == config.wrapping.dst[1];
}

#define IP4_AS_IP6(address) (bpf_htonl(0xffff) | (__u64)(address) << 32)

/* Of a packet that says its length from start on; 0 is what one of more than 64 KiB says that GRO
 * put together. */
static __always_inline __u64 outer_end(const struct frame *frame, __u64 start, __be16 len)
{
	return len || !frame->skb->gso_size ? start + bpf_ntohs(len) : frame->len;
}

/* False: not GRE between the two addresses. */
static __always_inline bool outer_ipv4(const struct frame *frame, __u64 offset, struct outer *outer)
{
	struct scratch scratch;
	const struct iphdr *ip = frame_at(frame, offset, sizeof(*ip), &scratch);

	if (!ip || ip->version != 4 || ip->ihl < 5 || ip->protocol != IPPROTO_GRE)
		return false;
	if (!is_from_to((__u64[2]){0, IP4_AS_IP6(ip->saddr)}, (__u64[2]){0, IP4_AS_IP6(ip->daddr)}))
		return false;
	outer->fragment = ip->frag_off & bpf_htons(IP_MORE_FRAGMENTS | IP_FRAGMENT_OFFSET);
	outer->gre_offset = offset + ip->ihl * 4;
	outer->end = outer_end(frame, offset, ip->tot_len);
	return true;
}

/* Linux puts one destination options header in front of GRE: the encapsulation limit (RFC
 * 2473, 5.1). */
#define OUTER_OPTIONS_MAX 64

static __always_inline bool outer_ipv6(const struct frame *frame, __u64 offset, struct outer *outer)
{
	struct scratch scratch;
	const struct ipv6hdr *ip = frame_at(frame, offset, sizeof(*ip), &scratch);
	const __u64 *addresses;
	__u8 proto;

	if (!ip || ip->version != 6)
		return false;
	addresses = (const void *)&ip->saddr;
	if (!is_from_to(addresses, addresses + 2))
		return false;
	proto = ip->nexthdr;
	outer->gre_offset = offset + sizeof(*ip);
	outer->end = outer_end(frame, outer->gre_offset, ip->payload_len);
	if (proto == IPPROTO_DSTOPTS) {
		const __u8 *options = frame_at(frame, outer->gre_offset, 2, &scratch);

		if (!options || (options[1] + 1) * 8 > OUTER_OPTIONS_MAX)
			return false;
		proto = options[0];
		outer->gre_offset += (options[1] + 1) * 8;
	}
	outer->fragment = proto == IPPROTO_FRAGMENT;
	return proto == IPPROTO_GRE || outer->fragment;
}

static __always_inline bool find_outer(const struct frame *frame, struct outer *outer)
{
	__u64 offset = offsetof(struct ethhdr, h_proto);
	struct scratch scratch;
	const __be16 *proto = frame_at(frame, offset, sizeof(*proto), &scratch);

	if (proto && is_vlan(*proto)) {
		offset += sizeof(struct vlan_tag);
		proto = frame_at(frame, offset, sizeof(*proto), &scratch);
	}
	if (!proto)
		return false;
	offset += sizeof(*proto);
	if (config.wrapping.version == 4)
		return *proto == bpf_htons(ETH_P_IP) && outer_ipv4(frame, offset, outer);
	return *proto == bpf_htons(ETH_P_IPV6) && outer_ipv6(frame, offset, outer);
}

/*
 * A type II header can only follow a sequence number, and begins with version 1 and, 4 bytes on, 12
 * reserved bits of zero. Without that it is a frame: copies of type I with a sequence number exist,
 * and no station has an address that looks like this header.
 */
static __always_inline bool is_erspan_2(const __u8 *at)
{
	return at[0] >> 4 == 1 && !at[4] && !(at[5] >> 4);
}

/* Bytes of the type III header; 0: not an Ethernet frame in it. */
static __always_inline __u64 erspan_3_len(const __u8 *at)
{
	__u8 frame_type = at[10] >> 2 & 0x1f;

	if (at[0] >> 4 != 2 || frame_type)
		return 0;
	return ERSPAN_III_LEN + (at[11] & 1 ? ERSPAN_SUB_LEN : 0);
}

/* Bytes of what is between GRE and the frame at offset; negative: not to be read. */
static __always_inline __s64 mirror_header_len(const struct frame *frame, __u64 offset, __u16 proto,
					       bool numbered)
{
	struct scratch scratch;
	const __u8 *at;

	switch (proto) {
	case ETH_P_TEB:
		return 0;
	case GRE_MELLANOX:
		return MELLANOX_LEN;
	case GRE_ERSPAN:
		at = numbered ? frame_at(frame, offset, ERSPAN_II_LEN, &scratch) : NULL;
		return at && is_erspan_2(at) ? ERSPAN_II_LEN : 0;
	case GRE_ERSPAN_III:
		at = frame_at(frame, offset, ERSPAN_III_LEN, &scratch);
		return at && erspan_3_len(at) ? (__s64)erspan_3_len(at) : -1;
	default:
		return -1;
	}
}

/* What this packet is to the job. */
static __always_inline struct copy unwrap(const struct frame *frame)
{
	struct copy copy = {.kind = COPY_NONE, .sequence = NO_SEQUENCE};
	struct frame packet = *frame;
	struct scratch scratch;
	const struct gre *gre;
	struct outer outer;
	bool numbered;
	__s64 header;
	__u16 proto;
	__u64 at;

	if (!find_outer(frame, &outer))
		return copy;
	copy.kind = COPY_UNREADABLE;
	/* Behind it is padding. */
	packet.len = outer.end;
	gre = frame_at(&packet, outer.gre_offset, sizeof(*gre), &scratch);
	if (outer.fragment || outer.end > frame->len || !gre || !gre_readable(gre))
		return copy;
	at = outer.gre_offset + gre_sequence_offset(gre);
	proto = bpf_ntohs(gre->proto);
	numbered = gre_has(gre, GRE_SEQUENCE);
	if (numbered) {
		const __be32 *sequence = frame_at(&packet, at, sizeof(*sequence), &scratch);

		if (!sequence)
			return copy;
		copy.sequence = bpf_ntohl(*sequence);
		at += sizeof(*sequence);
	}
	header = mirror_header_len(&packet, at, proto, numbered);
	if (header < 0 || at + header >= outer.end)
		return copy;
	copy.kind = COPY_FRAME;
	copy.base = at + header;
	copy.len = outer.end - copy.base;
	return copy;
}

#endif
