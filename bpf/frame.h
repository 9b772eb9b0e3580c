/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * Bytes of a frame, wherever they are. A third of what arrives may be non-linear: data..data_end is
 * then only its beginning, skb->len its length. The rest is copied out, never pulled: pulling would
 * change the packet for others.
 */
#ifndef TELEGEN_FRAME_H
#define TELEGEN_FRAME_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct frame {
	struct __sk_buff *skb;
	const char *data;
	const char *data_end;
	__u64 len; /* of the bytes; a VLAN tag in vlan_tci is not among them */
};

/* Room for the largest piece that is read at once: the fixed IPv6 header. */
struct scratch {
	__u64 words[5];
};

/* No frame has headers behind this, and the verifier wants to hear it. */
#define FRAME_MAX_OFFSET 0x7fff

static __always_inline struct frame frame_of(struct __sk_buff *skb)
{
	return (struct frame){
		.skb = skb,
		.data = (const char *)(long)skb->data,
		.data_end = (const char *)(long)skb->data_end,
		.len = skb->len,
	};
}

/*
 * The same, read once more: the verifier then need not remember what was found out about the
 * pointers so far, and what follows is the same to it for all packets.
 */
static __always_inline struct frame frame_again(struct __sk_buff *skb)
{
	asm volatile("" : "+r"(skb));
	return frame_of(skb);
}

/*
 * len bytes at offset: a pointer into the packet or, where it is not linear, to a copy in scratch.
 * NULL exactly if the frame ends before them. A second call invalidates what the first returned.
 */
static __always_inline const void *frame_at(const struct frame *frame, __u64 offset, __u32 len,
					    struct scratch *scratch)
{
	const char *at;

	/* As asm: clang would drop the mask wherever it believes to know better than the verifier.
	 */
	asm volatile("%0 &= %1" : "+r"(offset) : "i"(FRAME_MAX_OFFSET));
	at = frame->data + offset;
	if (at + len <= frame->data_end)
		return at;
	if (bpf_skb_load_bytes(frame->skb, offset, scratch, len))
		return NULL;
	return scratch;
}

#endif
