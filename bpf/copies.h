/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* Mirror copies, counted: those that cannot be read, and the sequence numbers of those that have
 * one. */
#ifndef TELEGEN_COPIES_H
#define TELEGEN_COPIES_H

#include "encapsulation.h"

/* A jump this far is not a gap but another numbering: that many copies are minutes of a fast port.
 */
#define SEQUENCE_JUMP (1 << 30)

/*
 * The first number is continued from 2^32, so that what comes late stays above 0. User space finds
 * out what is missing: copies may arrive on several CPUs.
 */
static __always_inline void count_sequence(struct sequence *known, __u32 number)
{
	__s32 ahead = number - (__u32)known->highest;
	__u64 at = known->highest + ahead;

	if (!known->count || ahead > SEQUENCE_JUMP || ahead < -SEQUENCE_JUMP) {
		if (known->count)
			known->restart++;
		known->lowest = known->highest = (1ULL << 32) + number;
		known->count = 1;
		return;
	}
	if (at > known->highest)
		known->highest = at;
	if (at < known->lowest)
		known->lowest = at;
	known->count++;
}

static __always_inline void count_copy(struct cpu *cpu, const struct copy *copy)
{
	if (copy->kind == COPY_UNREADABLE)
		cpu->unreadable++;
	if (copy->kind != COPY_NONE && copy->sequence != NO_SEQUENCE)
		count_sequence(&cpu->sequence, copy->sequence);
}

#endif
