/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * How many different flows there were: HyperLogLog (Flajolet, Fusy, Gandouet, Meunier, 2007). Only
 * packets that miss the flow table come here, so only the first packet of each flow needs to, and a
 * packet of a known flow pays nothing. User space makes a number of the registers.
 */
#ifndef TELEGEN_DISTINCT_H
#define TELEGEN_DISTINCT_H

#include "platform.h"

/* hash: of the flow, all bits of it. */
static __always_inline void count_distinct(struct cpu *cpu, __u32 hash)
{
	__u64 reg = hash >> (32 - DISTINCT_BITS);
	/* The position of the first 1 in the other bits; a 1 behind them ends the search. */
	__u32 rest = hash << DISTINCT_BITS | 1 << (DISTINCT_BITS - 1);
	__u8 rank = 1;

	if (!(rest & 0xffff0000)) {
		rank += 16;
		rest <<= 16;
	}
	if (!(rest & 0xff000000)) {
		rank += 8;
		rest <<= 8;
	}
	if (!(rest & 0xf0000000)) {
		rank += 4;
		rest <<= 4;
	}
	if (!(rest & 0xc0000000)) {
		rank += 2;
		rest <<= 2;
	}
	if (!(rest & 0x80000000))
		rank += 1;
	keep_below(reg, DISTINCT_REGISTERS - 1);
	if (cpu->distinct[reg] < rank)
		cpu->distinct[reg] = rank;
}

#endif
