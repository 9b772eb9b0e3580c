/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * How the virtual ASIC sends copies to a collector: numbered and cloned where the frame is, wrapped
 * into Ethernet, IP and GRE where the clone leaves. Both happen in one call of
 * bpf_clone_redirect(), so that what is to be wrapped into what passes through a map of the CPU.
 */
#ifndef LAB_TUNNEL_H
#define LAB_TUNNEL_H

#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "lab_types.h"

#define MAC_OCTETS  12
#define TAG_OCTETS  4
#define TAGS_MAX    8
#define ETH_OCTETS  14
#define IPV6_OCTETS 40
/* Places in an IP header. */
#define IPV4_LENGTH_AT	 2
#define IPV4_CHECKSUM_AT 10
#define IPV6_LENGTH_AT	 4
/* Type III counts in units of 100 microseconds (Gra 00). */
#define ERSPAN_TICK_NS	100000
#define ERSPAN_TYPE_II	1
#define ERSPAN_TYPE_III 2
/* The header says "the tag is in the frame" (En 11). */
#define ERSPAN_TAG_PRESERVED (3 << 11)
#define CHUNK_OCTETS	     256
#define CHUNKS_MAX	     40

/* What became of a copy. */
enum fate {
	FATE_DELIVERED,
	FATE_REFUSED,
	FATE_LOST,
};

/* A tag that the kernel has taken out of a frame. */
struct tag {
	__be16 type;
	__be16 control;
};

/* What the CPU's clone is to be wrapped into. */
struct wrapping {
	__u32 tunnel_plus_one; /* 0: nothing, this is no clone of ours */
	__u32 sequence;
	__u32 truncate_octets; /* of the frame, its tags included; 0: it stays whole */
	__u8 chunk[CHUNK_OCTETS];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, LAB_TUNNELS);
	__type(key, __u32);
	__type(value, struct lab_tunnel);
} lab_tunnels SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct wrapping);
} lab_wrappings SEC(".maps");

static __always_inline struct wrapping *this_wrapping(void)
{
	__u32 only = 0;

	return bpf_map_lookup_elem(&lab_wrappings, &only);
}

static __always_inline enum fate send_copy(struct __sk_buff *skb, __u32 ifindex)
{
	return bpf_clone_redirect(skb, ifindex, 0) ? FATE_REFUSED : FATE_DELIVERED;
}

/* A copy has its number before it can be lost: that is what a collector sees as a gap. */
static __always_inline enum fate send_through_tunnel(struct __sk_buff *skb, __u32 row,
						     __u32 ifindex, __u32 truncate_octets)
{
	struct lab_tunnel *tunnel = bpf_map_lookup_elem(&lab_tunnels, &row);
	struct wrapping *wrapping = this_wrapping();
	__u32 sequence, drop_every;
	enum fate fate;

	if (!tunnel || !wrapping)
		return FATE_REFUSED;
	sequence = __sync_fetch_and_add(&tunnel->next_sequence, 1);
	drop_every = tunnel->drop_every;
	if (drop_every && (sequence + 1) % drop_every == 0)
		return FATE_LOST;
	wrapping->tunnel_plus_one = row + 1;
	wrapping->sequence = sequence;
	wrapping->truncate_octets = truncate_octets;
	fate = send_copy(skb, ifindex);
	wrapping->tunnel_plus_one = 0;
	return fate;
}

/* Takes all tags out of the frame, the outermost first. Returns how many; negative if there are
 * too many. The kernel keeps one beside the frame, and puts the next there when that is taken.
 */
static __always_inline int take_tags(struct __sk_buff *skb, struct tag *tags)
{
	int count = 0;

#pragma unroll
	for (int i = 0; i < TAGS_MAX; i++) {
		if (!skb->vlan_present)
			break;
		tags[i].type = skb->vlan_proto;
		tags[i].control = bpf_htons(skb->vlan_tci);
		/* It fails if the next tag is cut off: then there is no next one, and the rest is
		 * payload.
		 */
		bpf_skb_vlan_pop(skb);
		count = i + 1;
	}
	return skb->vlan_present ? -1 : count;
}

static __always_inline __u16 folded(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

static __always_inline long store16(struct __sk_buff *skb, __u32 at, __u16 value)
{
	__be16 big = bpf_htons(value);

	return bpf_skb_store_bytes(skb, at, &big, sizeof(big), 0);
}

static __always_inline long store32(struct __sk_buff *skb, __u32 at, __u32 value)
{
	__be32 big = bpf_htonl(value);

	return bpf_skb_store_bytes(skb, at, &big, sizeof(big), 0);
}

static __always_inline long finish_ip(struct __sk_buff *skb, const struct lab_tunnel *tunnel)
{
	__u32 octets = skb->len - ETH_OCTETS;

	if (tunnel->is_ipv6)
		return store16(skb, ETH_OCTETS + IPV6_LENGTH_AT, octets - IPV6_OCTETS);
	return store16(skb, ETH_OCTETS + IPV4_LENGTH_AT, octets) ||
	       store16(skb, ETH_OCTETS + IPV4_CHECKSUM_AT, folded((__u64)tunnel->ip_sum + octets));
}

/* draft-foschiano-erspan-03 §4.2, §4.3: the first word begins Ver (4), VLAN (12), COS (3), En or
 * BSO (2), T (1), session (10).
 */
static __always_inline long finish_erspan(struct __sk_buff *skb, const struct lab_tunnel *tunnel,
					  const struct tag *outermost, __u16 session)
{
	__u32 at = tunnel->erspan_at;
	__u16 control = outermost ? bpf_ntohs(outermost->control) : 0;
	__u16 second = session | (control >> 13) << 13;

	if (outermost && tunnel->erspan_version == ERSPAN_TYPE_II)
		second |= ERSPAN_TAG_PRESERVED;
	if (store16(skb, at, tunnel->erspan_version << 12 | (control & 0xfff)) ||
	    store16(skb, at + 2, second))
		return -1;
	if (tunnel->erspan_version == ERSPAN_TYPE_III)
		return store32(skb, at + 4, bpf_ktime_get_ns() / ERSPAN_TICK_NS);
	return 0;
}

/* RFC 2784 §2.2: over the GRE header and all behind it, with the field itself 0. */
static __always_inline long finish_checksum(struct __sk_buff *skb, const struct lab_tunnel *tunnel,
					    struct wrapping *wrapping)
{
	__u32 at = tunnel->gre_at, octets;
	__s64 sum = 0;

	for (int i = 0; i < CHUNKS_MAX; i++) {
		if (at >= skb->len)
			break;
		octets = skb->len - at;
		if (octets > CHUNK_OCTETS)
			octets = CHUNK_OCTETS;
		__builtin_memset(wrapping->chunk, 0, CHUNK_OCTETS);
		if (octets < 1 || bpf_skb_load_bytes(skb, at, wrapping->chunk, octets))
			return -1;
		sum = bpf_csum_diff(0, 0, (__be32 *)wrapping->chunk, CHUNK_OCTETS, sum);
		at += CHUNK_OCTETS;
	}
	if (at < skb->len)
		return -1;
	return store16(skb, tunnel->checksum_at, bpf_htons(folded(sum)));
}

/* Cuts the frame, whose tags have been taken out, so that it has so many octets with them. The
 * kernel refuses where its transport header begins behind that.
 */
static __always_inline long cut(struct __sk_buff *skb, __u32 octets, __u32 tag_octets)
{
	if (!octets || skb->len + tag_octets <= octets)
		return 0;
	return bpf_skb_change_tail(skb, octets - tag_octets, 0);
}

/* Turns the clone into what the collector receives. Nonzero: it cannot be. */
static __always_inline long wrap(struct __sk_buff *skb)
{
	struct wrapping *wrapping = this_wrapping();
	struct tag tags[TAGS_MAX] = {};
	__u8 macs[MAC_OCTETS];
	struct lab_tunnel *tunnel;
	__u32 row, head;
	int count;

	if (!wrapping || !wrapping->tunnel_plus_one)
		return -1;
	row = wrapping->tunnel_plus_one - 1;
	tunnel = bpf_map_lookup_elem(&lab_tunnels, &row);
	/* Segments are not made before the wire, where an ASIC has whole packets. */
	if (!tunnel || skb->gso_size)
		return -1;
	head = tunnel->head_octets;
	if (head < 1 || head > LAB_HEAD_OCTETS)
		return -1;
	count = take_tags(skb, tags);
	if (count < 0 || cut(skb, wrapping->truncate_octets, count * TAG_OCTETS) ||
	    bpf_skb_load_bytes(skb, 0, macs, sizeof(macs)))
		return -1;
	/* The MAC addresses move to the front, and between them and the rest there is room for the
	 * tags.
	 */
	if (bpf_skb_change_head(skb, head + count * TAG_OCTETS, 0) ||
	    bpf_skb_store_bytes(skb, 0, tunnel->head, head, 0) ||
	    bpf_skb_store_bytes(skb, head, macs, sizeof(macs), 0))
		return -1;
#pragma unroll
	for (int i = 0; i < TAGS_MAX; i++)
		if (i < count && bpf_skb_store_bytes(skb, head + MAC_OCTETS + i * TAG_OCTETS,
						     &tags[i], TAG_OCTETS, 0))
			return -1;
	if (finish_ip(skb, tunnel))
		return -1;
	if (tunnel->sequence_at && store32(skb, tunnel->sequence_at, wrapping->sequence))
		return -1;
	if (tunnel->erspan_at && finish_erspan(skb, tunnel, count ? &tags[0] : 0, row + 1))
		return -1;
	return tunnel->checksum_at ? finish_checksum(skb, tunnel, wrapping) : 0;
}

#endif
