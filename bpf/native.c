// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * The tap in a process's own memory: no kernel, no verifier, one CPU. src/io/tap/native.rs calls
 * it, and its struct Engine and struct Given are those of here.
 */
#include "pipeline.h"

/* A packet, and when it came. */
struct given {
	const char *bytes;
	__u64 at_ns;
	__u32 held;	/* bytes that are there */
	__u32 linear;	/* of them, those that the kernel would have in front of data_end */
	__u32 len;	/* bytes that the packet had; those that are not there cannot be read */
	__u32 gso_size; /* 0: one packet */
	__u32 gso_segs;
	__u16 vlan_tci; /* a tag that is not among the bytes */
	__u8 vlan_present;
	__u8 layers_only; /* leaves everything to the parsers of the layers */
};

size_t telegen_engine_size(void)
{
	return sizeof(struct engine);
}

size_t telegen_given_size(void)
{
	return sizeof(struct given);
}

void telegen_observe(const struct engine *which, const struct given *given)
{
	struct buffer buffer = {
		.data = given->bytes,
		.linear = given->linear,
		.held = given->held,
	};

	buffer.skb.len = given->len;
	buffer.skb.vlan_present = given->vlan_present;
	buffer.skb.vlan_tci = given->vlan_tci;
	buffer.skb.gso_size = given->gso_size;
	buffer.skb.gso_segs = given->gso_segs;
	engine = which;
	this_cpu()->clock_ns = given->at_ns;
	if (config.wrapping.version)
		observe_copies(&buffer.skb);
	else if (given->layers_only)
		observe_slowly(&buffer.skb);
	else
		observe(&buffer.skb);
}
