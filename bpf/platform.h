/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * All that the tap takes from where it runs: a packet's buffer, the maps and constants, the clock
 * and random numbers, and what the verifier needs. There are two such places: the kernel, and a
 * process that runs the same program on packets in its own memory (native.c). No other header asks
 * which of the two it is compiled for.
 */
#ifndef TELEGEN_PLATFORM_H
#define TELEGEN_PLATFORM_H

#include <stdbool.h>
#include <stddef.h>
#include <linux/bpf.h>
#include "types.h"

/*
 * The next number of a generator that the tests and the native form use (xorshift64*, Vigna 2016);
 * cpu->random is its state, never 0.
 */
static inline __attribute__((always_inline)) __u32 next_random(struct cpu *cpu)
{
	__u64 state = cpu->random;

	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	cpu->random = state;
	return state * 0x2545f4914f6cdd1d >> 32;
}

#ifdef __bpf__

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* A constant that user space sets before the load: the verifier removes code that it rules out. */
#define constant(kind, name, dimensions) const volatile kind name dimensions = {}

/* An array that user space maps into its memory if flags say so. It sets max_entries. */
#define array_map(name, element, flags)           \
	struct {                                  \
		__uint(type, BPF_MAP_TYPE_ARRAY); \
		__uint(map_flags, flags);         \
		__uint(max_entries, 1);           \
		__type(key, __u32);               \
		__type(value, element);           \
	} name SEC(".maps")

/* A pointer to the element, or NULL. index is a variable. */
#define element_of(map, index) bpf_map_lookup_elem(&map, &index)

#define cpu_number() bpf_get_smp_processor_id()

/*
 * The clock and the random numbers. Tests load the program with config.fixed_inputs and set what it
 * reads in struct cpu; otherwise the verifier sees a constant 0 and removes that.
 */
#define read_clock_ns(cpu) (config.fixed_inputs ? (cpu)->clock_ns : bpf_ktime_get_ns())
#define read_jiffies(cpu)  (config.fixed_inputs ? (cpu)->clock_ns : bpf_jiffies64())
#define random_number(cpu) (config.fixed_inputs ? next_random(cpu) : bpf_get_prandom_u32())

/* The part of a packet's buffer that can be read without a call. */
#define buffer_data(skb) ((const char *)(long)(skb)->data)
#define buffer_end(skb)	 ((const char *)(long)(skb)->data_end)

/* Copies bytes of a buffer, wherever they are; not 0 if it does not have them. */
#define buffer_load(skb, offset, to, len) bpf_skb_load_bytes(skb, offset, to, len)

/*
 * Makes an index at most mask. As asm: clang would drop the mask wherever it believes to know
 * better than the verifier.
 */
#define keep_below(index, mask) asm volatile("%0 &= %1" : "+r"(index) : "i"(mask))

/*
 * A function that stays one. "used", because clang 14 otherwise sees that nobody needs what it
 * returns and leaves whatever there is in the register for that, which may be a pointer to the
 * stack, which the verifier refuses.
 */
#define function static __noinline __attribute__((used))

#else

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif
/* All CPUs in question are little-endian; facts.h says so, too. */
#define bpf_htons			 __builtin_bswap16
#define bpf_ntohs			 __builtin_bswap16
#define bpf_htonl			 __builtin_bswap32
#define bpf_ntohl			 __builtin_bswap32

/* What a BPF array is here. */
struct array {
	char *elements;
	__u32 count;
	__u32 size; /* of an element */
};

/*
 * One tap: its constants and maps under their names, of one CPU. src/io/tap/native.rs has the same
 * struct.
 */
struct engine {
	const struct config *config;
	const __u8 *size_buckets;
	const struct service_slot *service_slots;
	struct array telegen_cpus;
	struct array telegen_flows;
	struct array telegen_segments;
};

/* The one whose packet this thread is at. */
static _Thread_local const struct engine *engine;

/* Declared above; from here on "config" is the engine's. */
#define constant(kind, name, dimensions) struct engine
#define array_map(name, element, flags)	 struct engine

#define config	      (*engine->config)
#define size_buckets  (engine->size_buckets)
#define service_slots (engine->service_slots)

#define element_of(map, index) array_element(&engine->map, index)

static inline void *array_element(const struct array *array, __u32 index)
{
	return index < array->count ? array->elements + (__u64)index * array->size : NULL;
}

#define cpu_number() 0U

#define read_clock_ns(cpu) ((cpu)->clock_ns)
#define read_jiffies(cpu)  ((cpu)->clock_ns)
#define random_number(cpu) next_random(cpu)

/* A packet's buffer, whose kernel form can hold no pointers of 64 bits. */
struct buffer {
	struct __sk_buff skb;
	const char *data;
	__u32 linear; /* data..data + linear is what the kernel's data..data_end is */
	__u32 held;   /* bytes at data: less than skb.len if the rest was not captured */
};

#define buffer_of(from)	 ((const struct buffer *)(from))
#define buffer_data(skb) (buffer_of(skb)->data)
#define buffer_end(skb)	 (buffer_of(skb)->data + buffer_of(skb)->linear)

static inline long buffer_load(const struct __sk_buff *skb, __u64 offset, void *to, __u32 len)
{
	if (offset + len > buffer_of(skb)->held)
		return -1;
	__builtin_memcpy(to, buffer_of(skb)->data + offset, len);
	return 0;
}

#define keep_below(index, mask) ((index) &= (mask))

#define function static

#endif

/*
 * Ends a layer: what is in *packet is written, and read again when it is needed. *packet lies in a
 * map, about whose contents the verifier assumes nothing; so it sees one way into the next layer
 * instead of all combinations of those before.
 */
#define forget() asm volatile("" ::: "memory")

/* What the compiler knows of a value, it knows no more. */
#define obscure(value) asm volatile("" : "+r"(value))

#endif
