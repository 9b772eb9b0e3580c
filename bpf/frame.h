/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * Bytes of a frame, wherever they are. A third of what arrives may be non-linear: data..data_end is
 * then only its beginning, len its length. The rest is copied out, never pulled: pulling would
 * change the packet for others.
 */
#ifndef TELEGEN_FRAME_H
#define TELEGEN_FRAME_H

#include "platform.h"

struct frame {
	struct __sk_buff *skb;
	const char *data;
	const char *data_end;
	__u64 base;  /* where it begins in skb; not 0: behind a mirror's encapsulation */
	__u64 len;   /* of the bytes; a VLAN tag in vlan_tci is not among them. The buffer may go on
		      */
	bool linear; /* what is asked for is known to lie in the frame and in front of data_end */
};

/* Room for the largest piece that is read at once: the fixed IPv6 header. */
struct scratch {
	__u64 words[5];
};

/* No frame has headers behind this, and the verifier wants to hear it. */
#define FRAME_MAX_OFFSET 0x7fff

/* No encapsulation is longer, and the verifier wants to hear it. */
#define FRAME_MAX_BASE 0xff

static __always_inline struct frame frame_of(struct __sk_buff *skb)
{
	return (struct frame){
		.skb = skb,
		.data = buffer_data(skb),
		.data_end = buffer_end(skb),
		.len = skb->len,
	};
}

/*
 * Where a frame lies in a buffer, in one register: its beginning in the upper half, its length in
 * the lower. 0: the frame is the buffer.
 */
typedef __u64 place;

static __always_inline place place_of(const struct frame *frame)
{
	return frame->base << 32 | (__u32)frame->len;
}

/*
 * The frame at a place. Read once more it helps the verifier: it then need not remember what was
 * found out about the pointers so far, and what follows is the same to it for all packets.
 */
static __always_inline struct frame frame_in(struct __sk_buff *skb, place at)
{
	__u64 base = at >> 32;
	struct frame frame;

	obscure(skb);
	frame = frame_of(skb);
	if (!at)
		return frame;
	keep_below(base, FRAME_MAX_BASE);
	frame.data += base;
	frame.base = base;
	frame.len = (__u32)at;
	return frame;
}

static __always_inline long frame_load(const struct frame *frame, __u64 offset, void *to, __u32 len)
{
	return buffer_load(frame->skb, frame->base + offset, to, len);
}

/* Whether the outermost tag is not among the bytes. */
static __always_inline bool frame_tagged(const struct frame *frame)
{
	return !frame->base && frame->skb->vlan_present;
}

/* len bytes at offset, if they are in the frame and in front of data_end; else NULL. */
static __always_inline const void *frame_near(const struct frame *frame, __u64 offset, __u32 len)
{
	const char *at;

	keep_below(offset, FRAME_MAX_OFFSET);
	at = frame->data + offset;
	if (at + len > frame->data_end)
		return NULL;
	return frame->linear || offset + len <= frame->len ? at : NULL;
}

/*
 * len bytes at offset: a pointer into the packet or, where it is not linear, to a copy in scratch.
 * NULL exactly if the frame ends before them. A second call invalidates what the first returned.
 */
static __always_inline const void *frame_at(const struct frame *frame, __u64 offset, __u32 len,
					    struct scratch *scratch)
{
	const void *at = frame_near(frame, offset, len);

	if (at)
		return at;
	keep_below(offset, FRAME_MAX_OFFSET);
	if (frame->linear || offset + len > frame->len || frame_load(frame, offset, scratch, len))
		return NULL;
	return scratch;
}

#endif
