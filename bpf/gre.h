/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* The GRE header (RFC 2784, 2890), which tunnels and mirror copies have in common. */
#ifndef TELEGEN_GRE_H
#define TELEGEN_GRE_H

#include "frame.h"

#define GRE_CHECKSUM 0x8000
#define GRE_ROUTING  0x4000
#define GRE_KEY	     0x2000
#define GRE_SEQUENCE 0x1000
#define GRE_VERSION  0x0007

struct gre {
	__be16 flags;
	__be16 proto;
};

/* Version 0, and without source routes (RFC 1701), which nothing has used for thirty years. */
static __always_inline bool gre_readable(const struct gre *gre)
{
	return !(gre->flags & bpf_htons(GRE_ROUTING | GRE_VERSION));
}

static __always_inline bool gre_has(const struct gre *gre, __u16 flag)
{
	return gre->flags & bpf_htons(flag);
}

/* Bytes from the header's beginning to the sequence number, if there is one. */
static __always_inline __u64 gre_sequence_offset(const struct gre *gre)
{
	return sizeof(*gre) + (gre_has(gre, GRE_CHECKSUM) ? 4 : 0) +
	       (gre_has(gre, GRE_KEY) ? 4 : 0);
}

/* Of the whole header. */
static __always_inline __u64 gre_len(const struct gre *gre)
{
	return gre_sequence_offset(gre) + (gre_has(gre, GRE_SEQUENCE) ? 4 : 0);
}

#endif
