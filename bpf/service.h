/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * Services by well-known port. src/model/traffic.rs has the ports; user space finds the multiplier
 * that gives each of them a slot of its own, so that a lookup is one load.
 */
#ifndef TELEGEN_SERVICE_H
#define TELEGEN_SERVICE_H

#include "config.h"
#include "count.h"
#include "facts.h"

#define PORT_ROCEV2 4791

/* The service of a port in host order; 0: none. */
static __always_inline __u8 service_of(__u16 port, bool tcp)
{
	__u32 slot = (port * config.service_key) >> 24;

	if (service_slots[slot].port != port)
		return 0;
	return tcp ? service_slots[slot].tcp : service_slots[slot].udp;
}

/* Of a packet with ports. The service of its destination port or, if that is none's, its source
 * port's. */
static __always_inline __u8 find_service(const struct frame *frame, facts facts, bool tcp)
{
	__u32 ports = ports_of(frame, facts);
	__u8 service = service_of(bpf_ntohs(ports >> 16), tcp);

	return service ? service : service_of(bpf_ntohs((__u16)ports), tcp);
}

/* By InfiniBand's opcodes: three bits of transport, five of operation. */
static __always_inline enum rocev2_op rocev2_op(__u8 opcode)
{
	if (opcode == 0x81)
		return ROCEV2_CNP;
	if (opcode >= 0xc0 || (opcode & 0xe0) == 0x80)
		return ROCEV2_OTHER;
	switch (opcode & 0x1f) {
	case 0 ... 5:
	case 22 ... 23:
		return ROCEV2_SEND;
	case 6 ... 11:
		return ROCEV2_WRITE;
	case 12:
		return ROCEV2_READ_REQUEST;
	case 13 ... 16:
		return ROCEV2_READ_RESPONSE;
	case 17:
		return ROCEV2_ACK;
	case 18 ... 20:
		return ROCEV2_ATOMIC;
	default:
		return ROCEV2_OTHER;
	}
}

/* Of the packet of cpu->weight. */
function int count_rocev2(struct __sk_buff *skb, place at, struct cpu *cpu, facts facts)
{
	__u64 offset = ports_offset_of(facts) + sizeof(struct udphdr), op = ROCEV2_TRUNCATED;
	struct frame frame = frame_in(skb, at);
	__be16 port;
	__u8 opcode;

	/* Copied, which takes less of the stack than a pointer or a copy: it is full on 5.10. */
	if (frame_load(&frame, ports_offset_of(facts) + 2, &port, sizeof(port)))
		return 0;
	if (port != bpf_htons(PORT_ROCEV2))
		return 0; /* an answer to the port, of another protocol */
	if (offset < ip_end_of(&frame, facts) && offset < frame.len &&
	    !frame_load(&frame, offset, &opcode, sizeof(opcode)))
		op = rocev2_op(opcode);
	keep_below(op, 15);
	cpu->rocev2[op] += cpu->weight.packets;
	cpu->rocev2_ecn[tos_of(&frame, facts) & 3] += cpu->weight.packets;
	return 0;
}

/* True: it may be RoCEv2, which count_rocev2() looks into. */
static __always_inline bool count_service(struct cpu *cpu, const struct frame *frame, facts facts,
					  const struct weight *weight)
{
	bool tcp = is_whole_tcp(facts) || is_class(facts, IP_TCP);
	__u64 service;

	if (!ports_offset_of(facts) || !(tcp || is_class(facts, IP_UDP)))
		return false;
	service = find_service(frame, facts, tcp);
	if (!service)
		return false;
	keep_below(service, SERVICES - 1);
	counter_add(&cpu->services[service], weight);
	return service == config.rocev2;
}

#endif
