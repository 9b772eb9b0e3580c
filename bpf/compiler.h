/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * What has to be said to the compiler so that the verifier can follow; in user space, where the
 * parsers are compiled too, what it means.
 */
#ifndef TELEGEN_COMPILER_H
#define TELEGEN_COMPILER_H

/*
 * Makes an index at most mask. As asm: clang would drop the mask wherever it believes to know
 * better than the verifier.
 */
#ifdef __bpf__

#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/*
 * Makes an index at most mask. As asm: clang would drop the mask wherever it believes to know
 * better than the verifier.
 */
#define keep_below(index, mask) asm volatile("%0 &= %1" : "+r"(index) : "i"(mask))

#else

#include <arpa/inet.h>
#include <linux/bpf.h>

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif
#define bpf_htons htons
#define bpf_ntohs ntohs
#define bpf_htonl htonl
#define bpf_ntohl ntohl

#define keep_below(index, mask) ((index) &= (mask))

#endif

/*
 * A function that stays one. "used", because clang 14 otherwise sees that nobody needs what it
 * returns and leaves whatever there is in the register for that, which may be a pointer to the
 * stack, which the verifier refuses.
 */
#define function static __noinline __attribute__((used))

/*
 * Ends a layer: what is in *packet is written, and read again when it is needed. *packet lies in a
 * map, about whose contents the verifier assumes nothing; so it sees one way into the next layer
 * instead of all combinations of those before.
 */
#define forget() asm volatile("" ::: "memory")

#endif
