// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * The tap's parsers as a program of user space, so that a sanitizer watches every byte they read,
 * and a fuzzer can drive them. No kernel, no maps, no knobs.
 *
 * In: frames, each as its length and the length of its linear part (32 bits, this machine's order),
 * whether a tag is in vlan_tci (one byte), and its bytes. Out: a line per frame of what
 * tests/parser_host.rs calls Parsed. Exits with 0 at the end of the input.
 */
#include <stdio.h>
#include <stdlib.h>

#include "parse.h"
#include "parse_fast.h"
#include "parse_tunnel.h"

/* The whole frame, layer by layer, as the tap does it. */
static void parse_layers(const struct frame *frame, struct packet *outer, struct packet *inner)
{
	struct frame within = *frame;
	int next;

	*outer = (struct packet){.tags = frame_tagged(frame), .tunnel = TUNNEL_NONE};
	*inner = (struct packet){};
	parse(frame, outer);
	next = parse_tunnel(frame, outer);
	if (next == STOP)
		return;
	if (outer->ip_offset)
		within.len = outer->ip_end;
	parse_inner(&within, outer, inner, next);
}

static void print_facts(facts facts)
{
	printf(" %llu %llu %llu %llu %u", cell_in(facts), ip_offset_of(facts),
	       ports_offset_of(facts), icmp_offset_of(facts), proto_of(facts));
}

static void print_parsed(const struct frame *frame)
{
	struct packet outer, inner;
	facts fast = parse_fast(frame), facts;

	parse_layers(frame, &outer, &inner);
	facts = facts_of(&outer);
	printf("%u %u %u %u %u %u %u %d", outer.eth_class, outer.ip_class, outer.fragment,
	       outer.errors, outer.tunnel, inner.eth_class, inner.ip_class, fast != 0);
	print_facts(facts);
	if (fast)
		print_facts(fast);
	printf("\n");
}

int main(void)
{
	struct {
		__u32 len;
		__u32 linear;
	} head;

	while (fread(&head, sizeof(head), 1, stdin) == 1) {
		struct buffer buffer = {.linear = head.linear, .held = head.len};
		struct frame frame;
		/* No byte more than the frame has: reading behind it is then seen. */
		char *bytes = malloc(head.len ? head.len : 1);

		buffer.skb.len = head.len;
		buffer.skb.vlan_present = fgetc(stdin) == 1;
		buffer.data = bytes;
		frame = frame_of(&buffer.skb);
		if (!bytes || fread(bytes, 1, head.len, stdin) != head.len)
			return 1;
		print_parsed(&frame);
		free(bytes);
	}
	return 0;
}
