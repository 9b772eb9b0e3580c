/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * How much a packet is, and its one cell.
 */
#ifndef TELEGEN_COUNT_H
#define TELEGEN_COUNT_H

#include "config.h"
#include "parse.h"

/* One packet: the frame's bytes, with a tag that is in vlan_tci. */
static __always_inline struct weight weigh(const struct frame *frame)
{
	/* vlan_present is 0 or 1: no branch for that. */
	__u64 len =
		frame->len + (frame->base ? 0 : frame->skb->vlan_present) * sizeof(struct vlan_tag);

	return (struct weight){1, len, len};
}

/*
 * Any buffer. A GSO buffer is gso_segs packets, each with its own copy of the headers up to TCP's
 * or UDP's, the outer ones if there are inner ones. Where that header is not known (another
 * protocol, or cut), the bytes are the buffer's. A buffer from a guest can come without gso_segs:
 * it follows from gso_size.
 */
static __always_inline struct weight weigh_gso(const struct frame *frame,
					       const struct packet *packet)
{
	struct weight one = weigh(frame);
	__u64 tag = one.bytes - frame->len, header, segments, payload;

	if (!packet->gso_size)
		return one;
	header = packet->l4_payload ? packet->l4_payload + tag : 0;
	payload = packet->gso_size;
	segments = frame->skb->gso_segs;
	if (!segments && header)
		segments = (one.bytes - header + payload - 1) / payload;
	if (segments <= 1)
		return one;
	return (struct weight){segments, one.bytes + (segments - 1) * header, header + payload};
}

/*
 * How far ahead the next packet is of those of which 1 of rate is chosen: uniform in 1..2N-1, of
 * mean N. So there is a random number per chosen packet instead of one per packet. User space draws
 * the first distance such that no packet is likelier than another.
 */
static __always_inline __u32 draw_distance(struct cpu *cpu, __u32 rate)
{
	return 1 + ((__u64)random_number(cpu) * (2 * rate - 1) >> 32);
}

static __always_inline void counter_add(struct counter *counter, const struct weight *weight)
{
	counter->packets += weight->packets;
	counter->bytes += weight->bytes;
}

static __always_inline void count_cell(struct cpu *cpu, __u64 cell, const struct weight *weight)
{
	keep_below(cell, CELLS - 1);
	counter_add(&cpu->cells[cell], weight);
}

static __always_inline void count_errors(struct cpu *cpu, __u32 errors, const struct weight *weight)
{
	if (!errors)
		return;
#pragma unroll
	for (int i = 0; i < ERROR_COUNT; i++)
		if (errors & 1 << i)
			cpu->errors[i] += weight->packets;
}

#endif
