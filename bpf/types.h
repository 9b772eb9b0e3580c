/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * What the tap's programs and user space share: the classes of packets, the layout of the maps, and
 * the job's knobs.
 *
 * The enums have the order of src/model/schema.rs, and tests/tap_programs.rs holds the two
 * together; the structs reach Rust through the skeleton. Nothing here reads a packet.
 */
#ifndef TELEGEN_TYPES_H
#define TELEGEN_TYPES_H

#include <linux/types.h>

enum eth_class {
	ETH_IPV4,
	ETH_IPV6,
	ETH_ARP,
	ETH_MPLS,
	ETH_LLDP,
	ETH_SLOW,
	ETH_LLC,
	ETH_PTP,
	ETH_MACSEC,
	ETH_EAPOL,
	ETH_PPPOE,
	ETH_CFM,
	ETH_OTHER,
	ETH_TRUNCATED,
};

enum ip_class {
	IP_TCP,
	IP_UDP,
	IP_ICMP,
	IP_ICMPV6,
	IP_IGMP,
	IP_SCTP,
	IP_GRE,
	IP_ESP,
	IP_AH,
	IP_OSPF,
	IP_PIM,
	IP_VRRP,
	IP_IPIP,
	IP_IPV6,
	IP_EIGRP,
	IP_RSVP,
	IP_DCCP,
	IP_L2TP,
	IP_NO_NEXT,
	IP_OTHER,
	IP_TRUNCATED,
};

enum error_kind {
	ERROR_TRUNCATED_ETH,
	ERROR_TRUNCATED_IP,
	ERROR_TRUNCATED_L4,
	ERROR_MALFORMED_IP,
	ERROR_MALFORMED_L4,
	ERROR_TOO_DEEP,
	ERROR_CHECKSUM_IP,
	ERROR_COUNT,
};

/*
 * Each packet is counted in exactly one cell, whose index says all that is counted of it: bit 7 IP,
 * and then bit 6 IPv6, bit 5 a fragment, bits 0-4 enum ip_class; or without bit 7 enum eth_class.
 * User space sums the marginals. One add per packet instead of one per property is what makes the
 * totals cheap.
 */
#define CELL_IP	      0x80
#define CELL_IPV6     0x40
#define CELL_FRAGMENT 0x20
#define CELL_IP_CLASS 0x1f
#define CELL_REJECTED 0x7f /* delivered, but not passed by the filter */
#define CELLS	      256

/* Powers of two, for a binary search; unused upper bounds are the largest value. */
#define SIZE_BUCKETS 16
#define GAP_BUCKETS  32

struct counter {
	__u64 packets;
	__u64 bytes;
};

/* What the parsers of the layers note of the packet at hand; see layer.h. */
struct packet {
	__u64 offset;	    /* of the layer that is parsed next */
	__u64 ip_offset;    /* of the fixed IP header; 0: not IP, or it cannot be believed */
	__u64 ip_end;	    /* where the IP packet ends inside of the frame; behind it is padding */
	__u64 ports_offset; /* 0: none, or not in the frame */
	__u64 l4_payload;   /* behind the TCP or UDP header, 0: not known */
	__u32 gso_size;	    /* 0: not a GSO buffer */
	__u32 errors;	    /* bit n: enum error_kind n */
	__u32 eth_class;
	__u32 ip_class;
	__u8 proto;    /* behind the extension headers, or the last that could be read */
	__u8 fragment; /* 0 or 1 */
};

/*
 * What one CPU counts. Written by that CPU only, and by one program at a time: both tc hooks run
 * with bottom halves disabled (ingress in the receive softirq, egress under rcu_read_lock_bh in
 * __dev_queue_xmit), softirqs do not nest, and from hard interrupts netpoll transmits without
 * passing a tc hook. So plain adds lose nothing, as long as the kernel is not PREEMPT_RT (SONiC's
 * is not), where bottom halves can be preempted.
 */
struct cpu {
	struct counter cells[CELLS];
	__u64 errors[8]; /* by enum error_kind */
	struct counter analysed;
	struct counter non_ip; /* analysed, without an IP header to take a flow from */
	struct counter other;  /* analysed, of flows not in the table */
	__u64 evicted;
	__u64 size_sum;
	__u64 size_counts[SIZE_BUCKETS];
	__u64 gap_sum;
	__u64 gap_counts[GAP_BUCKETS];
	__u64 previous_ns; /* when the packet before the next analysed one came; 0: not known */
	__u32 skip;	   /* the analysed packet is this many packets ahead, 1: the next one */
	__u32 pad[11];
	struct packet packet; /* of no meaning outside of the program */
};

/* 40 bytes without holes, so that it is handled as words. IPv4 addresses are mapped
 * (::ffff:a.b.c.d). */
struct flow_key {
	__u32 src[4]; /* as in the packet */
	__u32 dst[4];
	__u16 sport; /* host order, as all that follows */
	__u16 dport;
	__u16 vlan; /* id of the outermost tag; 0: untagged or priority-tagged */
	__u8 proto;
	__u8 version; /* 4 or 6: a real IPv6 address may look like a mapped one */
};

struct flow {
	struct flow_key key;
	__u64 bytes;
	__u64 base;  /* RAP: the rank that the flow inherited; its own packets are rank - base */
	__u32 first; /* ticks of 2^FLOW_TICK_SHIFT ns since config.opened_ns */
	__u32 last;
};

#define FLOW_WAYS 4
#define FLOW_TICK_SHIFT \
	20 /* about a millisecond; 32 bits of them last 52 days, and a job at most one */

/*
 * A set of the flow cache. What a miss has to see is in the first cache line, a hit touches one
 * more.
 *
 * version[w] is odd while way w is given to another flow, and changes with it: a reader that sees
 * the same even version before and after has read one flow (stores are seen in order on x86; on
 * weaker CPUs only the reading after the detach is sure of that). Counts of a flow that stays are
 * not versioned: a reader may see a packet without its bytes.
 */
struct flow_set {
	__u64 rank[FLOW_WAYS]; /* packets, with base */
	__u32 tag[FLOW_WAYS];  /* some bits of the hash; 0: free */
	__u32 version[FLOW_WAYS];
	struct flow flows[FLOW_WAYS];
};

#define MAX_PORT_RANGES 16

struct port_range {
	__u16 lo;
	__u16 hi;
};

struct cidr {
	__u8 version; /* 4, 6, or 0: any address */
	__u64 net[2]; /* as in flow_key, already masked */
	__u64 mask[2];
};

struct filter {
	__u16 vlan;	/* 0: any */
	__u8 any_ip;	/* whether one of the fields below asks for something */
	__u8 any_proto; /* whether protos does */
	__u8 any_dscp;
	__u8 sport_count;
	__u8 dport_count;
	__u64 dscps;	 /* bit n: code point n */
	__u64 protos[4]; /* bit n%64 of word n/64: protocol n */
	struct port_range sports[MAX_PORT_RANGES];
	struct port_range dports[MAX_PORT_RANGES];
	struct cidr src;
	struct cidr dst;
};

#define FLOW_WORDS (sizeof(struct flow_key) / sizeof(__u64))

struct config {
	struct filter filter;
	__u32 sample_rate;  /* analyse 1 of this many */
	__u32 sets_per_cpu; /* 0: no flow table */
	__u64 opened_ns;    /* CLOCK_MONOTONIC */
	__u64 hash_keys[2 * FLOW_WORDS + 1];
	__u64 size_bounds[SIZE_BUCKETS];
	__u64 gap_bounds[GAP_BUCKETS];
	__u8 layers_only; /* leaves all packets to the parsers of the layers; for tests */
	__u8 untimed;	  /* no inter-arrival times, no times of flows; for measurements */
};

#endif
