// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * The whole tap as a program of user space, so that a sanitizer watches all that it reads and
 * writes: with every option, with a table that flows have to leave, and with the knobs of mirror
 * copies.
 *
 * In: frames as tests/host/parse.c has them. Exits with 0 at the end of the input, and prints how
 * many packets each kind of tap counted.
 */
#include <stdio.h>
#include <stdlib.h>

#include "native.c"

#undef config
#undef size_buckets
#undef service_slots

#define TAPS 4
#define SETS 2

static struct config configs[TAPS];
static __u8 buckets[SIZES];
static struct service_slot slots[SERVICE_SLOTS];
static struct engine engines[TAPS];

static struct array new_array(__u32 count, __u32 size)
{
	return (struct array){.elements = calloc(count, size), .count = count, .size = size};
}

/* Everything; the same inside of tunnels, with filters; 1 of 3; mirror copies. */
static void set_up(void)
{
	static const __u64 src = 0x0100630aULL << 32, dst = 0x0200630aULL << 32;

	for (int i = 0; i < SIZES; i++)
		buckets[i] = i / 1024;
	slots[1] = (struct service_slot){.port = 53, .tcp = 1, .udp = 2};
	for (int i = 0; i < TAPS; i++) {
		struct config *knobs = &configs[i];

		*knobs = (struct config){.sample_rate = i == 2 ? 3 : 1,
					 .gap_rate = 2,
					 .sets_per_cpu = SETS,
					 .service_key = 0x9e3779b1,
					 .rocev2 = 3,
					 .inner = i == 1,
					 .health = 1,
					 .sizes = 1,
					 .checksum = 1,
					 .segments = i != 2,
					 .distinct = 1,
					 .filtered = i == 1,
					 .more = 1};
		for (unsigned int k = 0; k < 2 * FLOW_WORDS + 1; k++)
			knobs->hash_keys[k] = k * 0x9e3779b97f4a7c15ULL;
		knobs->filter.any_ip = knobs->filter.any_proto = 1;
		knobs->filter.protos[0] = ~0ULL;
		knobs->filter.sport_count = 1;
		knobs->filter.sports[0] = (struct port_range){0, 0xffff};
		if (i == 3)
			knobs->wrapping =
				(struct wrapping){4, {0, src | 0xffff0000}, {0, dst | 0xffff0000}};
		engines[i] = (struct engine){
			.config = knobs,
			.size_buckets = buckets,
			.service_slots = slots,
			.telegen_cpus = new_array(1, sizeof(struct cpu)),
			.telegen_flows = new_array(SETS, sizeof(struct flow_set)),
			.telegen_segments = new_array(SETS, sizeof(struct segment_set))};
		((struct cpu *)engines[i].telegen_cpus.elements)->random = 1;
	}
}

int main(void)
{
	struct {
		__u32 len;
		__u32 linear;
	} head;
	__u64 now = 0;

	set_up();
	while (fread(&head, sizeof(head), 1, stdin) == 1) {
		struct given given = {
			.held = head.len, .linear = head.linear, .at_ns = now++ << 19};
		/* No byte more than the frame has: reading behind it is then seen. */
		char *bytes = malloc(head.len ? head.len : 1);

		given.vlan_present = fgetc(stdin) == 1;
		given.bytes = bytes;
		if (!bytes || fread(bytes, 1, head.len, stdin) != head.len)
			return 1;
		for (int i = 0; i < TAPS; i++) {
			/* As long as it is, longer, and as long as can be: the rest is not there.
			 */
			const __u32 lengths[] = {head.len, head.len + 100, 0xffffffff};

			for (int k = 0; k < 3; k++) {
				given.len = lengths[k];
				given.gso_size = k == 1 ? 100 : 0;
				telegen_observe(&engines[i], &given);
			}
		}
		free(bytes);
	}
	for (int i = 0; i < TAPS; i++) {
		const struct cpu *cpu = (struct cpu *)engines[i].telegen_cpus.elements;

		printf("%llu %llu\n", cpu->analysed.packets, cpu->evicted);
	}
	return 0;
}
