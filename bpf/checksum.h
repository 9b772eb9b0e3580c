/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* The checksum of IPv4 headers (RFC 1071). */
#ifndef TELEGEN_CHECKSUM_H
#define TELEGEN_CHECKSUM_H

#include "facts.h"

#define IP4_MAX_OPTIONS 40

/*
 * sum: of at most 15 words of 32 bits. The folds leave at most 2^32 + 15, 0x1ffff and 0x10000 of
 * it; another one could only make 1 of the last, which is as wrong.
 */
static __always_inline bool checksum_is_right(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum == 0xffff;
}

/* Of a header without options. */
static __always_inline bool plain_checksum_is_right(const union ip_head *ip)
{
	const __u32 *at = ip->words;

	return checksum_is_right((__u64)at[0] + at[1] + at[2] + at[3] + at[4]);
}

/* Of a header of any length that lies in the frame; what does not, is not judged. */
static __always_inline bool ip4_checksum_is_right(const struct frame *frame, __u64 offset,
						  __u32 len)
{
	__u32 options = len - sizeof(struct iphdr);
	/* Room for what the mask allows: 5.10's verifier knows the mask better than the comparison.
	 */
	__u32 words[(sizeof(struct iphdr) + 64) / 4] = {};
	__u64 sum = 0;

	if (options > IP4_MAX_OPTIONS)
		return true;
	keep_below(options, 63);
	if (frame_load(frame, offset, words, sizeof(struct iphdr) + options))
		return true;
#pragma unroll
	for (__u32 i = 0; i < (sizeof(struct iphdr) + IP4_MAX_OPTIONS) / 4; i++)
		sum += words[i];
	return checksum_is_right(sum);
}

#endif
