/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * TCP segments by their flows: what is repeated, and what comes late. src/model/traffic.rs says
 * what counts as which.
 */
#ifndef TELEGEN_SEGMENT_H
#define TELEGEN_SEGMENT_H

#include "config.h"
#include "facts.h"

#define TCP_FIN	   0x01
#define TCP_SYN	   0x02
#define TCP_SEQ_AT 4

/* The sequence numbers that a segment occupies: first and how many. */
struct span {
	__u32 start;
	__u32 len;
};

static __always_inline struct span span_of(const struct frame *frame, facts facts)
{
	__u64 end = ip_end_of(frame, facts), header_end;
	struct scratch scratch;
	const __u8 *tcp = frame_at(frame, ports_offset_of(facts), sizeof(struct tcphdr), &scratch);
	struct span span = {};

	if (!tcp)
		return span;
	span.start = bpf_ntohl(*(const __be32 *)(tcp + TCP_SEQ_AT));
	header_end = ports_offset_of(facts) + (tcp[12] >> 4) * 4;
	if (header_end < end)
		span.len = end - header_end;
	if (facts & TCP_SYN)
		span.len++;
	if (facts & TCP_FIN)
		span.len++;
	return span;
}

/* A sequence number before another: they wrap around (RFC 9293, 3.4). */
static __always_inline bool is_before(__u32 number, __u32 other)
{
	return (__s32)(number - other) < 0;
}

/* A segment that begins where the flow had been before. */
static __always_inline void count_earlier(struct segments *counts, struct segment *known,
					  const struct span *span, bool bare)
{
	if (bare && span->len == 1 && span->start + 1 == known->next)
		return; /* a keep-alive (RFC 9293, 3.8.4) */
	if (!is_before(span->start, known->gap_start) && is_before(span->start, known->gap_end)) {
		counts->out_of_order++;
		/* What is left of the gap: behind the segment or, if that is nothing, before it. */
		if (is_before(span->start + span->len, known->gap_end))
			known->gap_start = span->start + span->len;
		else
			known->gap_end = span->start;
	} else {
		counts->retransmitted++;
	}
}

static __always_inline void count_segment(struct segments *counts, struct segment *known,
					  const struct frame *frame, facts facts)
{
	struct span span = span_of(frame, facts);
	__u32 end = span.start + span.len;

	if (!span.len)
		return;
	if (!known->started) {
		known->started = 1;
		known->next = end;
		known->gap_start = known->gap_end = end;
		return;
	}
	if (is_before(span.start, known->next)) {
		count_earlier(counts, known, &span, !(facts & (TCP_SYN | TCP_FIN)));
	} else if (span.start != known->next) {
		known->gap_start = known->next;
		known->gap_end = span.start;
	}
	if (is_before(known->next, end))
		known->next = end;
}

#endif
