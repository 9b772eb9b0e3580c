/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* The checksum of IPv4 headers (RFC 1071). */
#ifndef TELEGEN_CHECKSUM_H
#define TELEGEN_CHECKSUM_H

#include "facts.h"

#define IP4_MAX_HEADER 60

static __always_inline bool checksum_is_right(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum == 0xffff;
}

/* Of a header without options. */
static __always_inline bool plain_checksum_is_right(const struct frame *frame, __u64 offset)
{
	struct scratch scratch;
	const __u32 *at = frame_at(frame, offset, sizeof(struct iphdr), &scratch);

	if (!at)
		return true;
	return checksum_is_right((__u64)at[0] + at[1] + at[2] + at[3] + at[4]);
}

/* Of a header of any length that lies in the frame; what does not, is not judged. */
static __always_inline bool ip4_checksum_is_right(const struct frame *frame, __u64 offset,
						  __u32 len)
{
	__u32 words[IP4_MAX_HEADER / 4] = {};
	__u64 sum = 0;

	if (len < sizeof(struct iphdr) || len > IP4_MAX_HEADER)
		return true;
	if (frame_load(frame, offset, words, len))
		return true;
#pragma unroll
	for (int i = 0; i < IP4_MAX_HEADER / 4; i++)
		sum += words[i];
	return checksum_is_right(sum);
}

#endif
