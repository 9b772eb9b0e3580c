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

/* In the order of src/model/traffic.rs, as the next two. */
enum health_event {
	HEALTH_TCP_RESET,
	HEALTH_TCP_ZERO_WINDOW,
	HEALTH_ICMP_UNREACHABLE,
	HEALTH_ICMP_TOO_BIG,
	HEALTH_ICMP_TIME_EXCEEDED,
	HEALTH_TTL_0,
	HEALTH_TTL_1,
	/* The rest is counted under other names. */
	HEALTH_MULTICAST,
	HEALTH_BROADCAST,
	HEALTH_NO_DESTINATION, /* cut inside of its destination address */
	HEALTH_COUNT,
};

enum tunnel {
	TUNNEL_VXLAN,
	TUNNEL_GENEVE,
	TUNNEL_GRE,
	TUNNEL_IPIP,
	TUNNEL_MPLS,
	TUNNEL_COUNT,
	TUNNEL_NONE = TUNNEL_COUNT,
};

enum rocev2_op {
	ROCEV2_SEND,
	ROCEV2_WRITE,
	ROCEV2_READ_REQUEST,
	ROCEV2_READ_RESPONSE,
	ROCEV2_ACK,
	ROCEV2_ATOMIC,
	ROCEV2_CNP,
	ROCEV2_OTHER,
	ROCEV2_TRUNCATED,
	ROCEV2_COUNT,
};

/*
 * Each packet is counted in exactly one cell, whose index says all that is counted of it. User
 * space sums the marginals. One add per packet instead of one per property is what makes the totals
 * cheap.
 *
 * The kind of a packet is in bits 7 and 8; with it bit 6 is IPv6, if it is IP at all, and the rest
 * is enum eth_class, or enum ip_class with bit 5 for a fragment, or a whole TCP packet's flags.
 */
#define CELL_KIND     0x180
#define CELL_NOT_IP   0x000
#define CELL_IP	      0x080
#define CELL_TCP      0x100 /* not a fragment, its fixed header is there: by its flags */
#define CELL_LATER    0x180 /* a fragment, but not the first */
#define CELL_IPV6     0x040
#define CELL_FRAGMENT 0x020 /* the first: of CELL_IP only */
#define CELL_IP_CLASS 0x01f
#define CELL_FLAGS    0x03f
#define CELL_REJECTED 0x07f /* delivered, but not passed by the filter */
#define CELLS	      512

/* Not of the index, but said together with it: a whole TCP packet with a window of 0. */
#define CELL_ZERO_WINDOW 0x10000

/* Lengths below SIZES have their bucket in a table, all others are in the last bucket. */
#define SIZES	     0x4000
#define SIZE_BUCKETS 16
#define SIZE_LAST    (SIZE_BUCKETS - 1)

/* A power of two, for a binary search; unused upper bounds are the largest value. */
#define GAP_BUCKETS 32

/* A perfect hash of the services' ports: the upper bits of port * config.service_key. */
#define SERVICE_SLOTS 256
#define SERVICES      64 /* room for all of src/model/traffic.rs; 0 is none, the first is 1 */

struct service_slot {
	__u16 port;
	__u8 tcp;
	__u8 udp;
};

/* HyperLogLog registers, one byte each (Flajolet, Fusy, Gandouet, Meunier 2007). */
#define DISTINCT_BITS	   11
#define DISTINCT_REGISTERS (1 << DISTINCT_BITS)

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
	__u64 icmp_offset;  /* 0: none, or cut */
	__u32 gso_size;	    /* 0: not a GSO buffer */
	__u32 errors;	    /* bit n: enum error_kind n */
	__u32 eth_class;
	__u32 ip_class;
	__u32 tcp;	/* TCP_THERE and the flags' byte, or 0 */
	__u8 tags;	/* VLAN tags seen so far */
	__u8 proto;	/* behind the extension headers, or the last that could be read */
	__u8 fragment;	/* FRAGMENT_NONE, _FIRST or _LATER */
	__u8 ip_header; /* length of the IPv4 header that lies in the frame, 0: none does */
	__u8 tunnel;	/* enum tunnel that was opened */
	__u8 pad[3];
};

#define FRAGMENT_NONE  0
#define FRAGMENT_FIRST 1
#define FRAGMENT_LATER 2

#define TCP_THERE	0x100
#define TCP_ZERO_WINDOW 0x200

/*
 * What is known of a parsed packet, in one register: what it counts as and where the rest is. The
 * BPF machine has few registers, and what does not fit into them is stored and loaded again.
 *
 * The lowest bits are the cell's index with CELL_ZERO_WINDOW; facts.h has the rest by name.
 */
typedef __u64 facts;

#define FACTS_PROTO_SHIFT 17 /* 8 bits */
#define FACTS_PORTS	  (1 << 25)
#define FACTS_ICMP	  (1 << 26)
#define FACTS_IP_SHIFT	  32 /* 16 bits, as the next */
#define FACTS_L4_SHIFT	  48

/* What one buffer is on the wire. */
struct weight {
	__u64 packets;
	__u64 bytes;	   /* of all packets */
	__u64 packet_size; /* of each packet but the last; of the packet, if it is one */
};

/* Copies' sequence numbers on one CPU, continued beyond 32 bits. */
struct sequence {
	__u64 lowest;
	__u64 highest;
	__u64 count;   /* copies with a number */
	__u64 restart; /* how often the numbering jumped too far to be a gap */
};

/* TCP segments by their flows. */
struct segments {
	__u64 tracked;
	__u64 untracked;
	__u64 retransmitted;
	__u64 out_of_order;
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
	__u64 tos[256]; /* IP packets by type of service or traffic class: DSCP and ECN */
	__u64 size_counts[SIZE_BUCKETS];
	__u64 health[16];		   /* by enum health_event */
	struct counter services[SERVICES]; /* TCP and UDP by service */
	__u64 errors[8];		   /* by enum error_kind */
	__u64 rocev2[16];		   /* by enum rocev2_op */
	__u64 rocev2_ecn[4];
	struct counter tunnels[8];   /* by enum tunnel */
	struct counter inner[32];    /* by enum ip_class */
	struct counter inner_non_ip; /* in tunnels, not IP or unreadable */
	struct counter analysed;
	struct counter non_ip; /* analysed, without an IP header to take a flow from */
	struct counter other;  /* analysed, of flows not in the table */
	__u64 evicted;
	struct segments segments;
	struct sequence sequence;
	__u64 unreadable;   /* copies of this job without a frame to read */
	__u64 ipv4_options; /* packets whose IPv4 header has options */
	__u64 gap_sum;
	__u64 gap_counts[GAP_BUCKETS];
	__u64 gap_start_ns; /* when the packet before the next one came; 0: not to be measured */
	__u64 jiffies;	    /* when tick was read */
	__u32 tick;	    /* see struct flow */
	__u32 pad_tick;
	__u32 skip;	/* the analysed packet is this many packets ahead, 1: the next one */
	__u32 gap_skip; /* the packet from which a gap is measured, likewise */
	__u8 distinct[DISTINCT_REGISTERS];
	struct packet packet; /* of no meaning outside of the program, as all that follows */
	struct packet inner_packet;
	facts facts; /* of the packet that filters and analysis are about */
	facts outer; /* of the packet that it is counted as, if the parsers of the layers saw it */
	struct weight weight;
	__u64 flow_words[5]; /* struct flow_key */
	__u64 place;	     /* of the frame in a copy, see frame.h */
	__u64 clock_ns;	     /* the time, and the state of the random numbers, if they are */
	__u64 random;	     /* inputs, see platform.h */
	__u64 pad[3];
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

/* One cache line. */
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

/*
 * What is known of the TCP flow in the same way of the same set: the sequence number behind the
 * highest that was seen, and the latest gap below it. Valid from the flow's second segment on.
 */
struct segment {
	__u32 next;
	__u32 gap_start;
	__u32 gap_end; /* equal: no gap */
	__u32 started; /* 0: nothing seen yet */
};

struct segment_set {
	struct segment ways[FLOW_WAYS];
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

/* Whose mirror copies are this job's: both addresses as in flow_key. */
struct wrapping {
	__u8 version; /* 4 or 6; 0: the packets are the copies */
	__u64 src[2];
	__u64 dst[2];
};

struct config {
	struct filter filter;
	struct wrapping wrapping;
	__u32 sample_rate;  /* analyse 1 of this many */
	__u32 gap_rate;	    /* measure the distance of 1 of this many pairs; 0: of none */
	__u32 sets_per_cpu; /* 0: no flow table */
	__u32 service_key;  /* 0: no services */
	__u32 rocev2;	    /* which of the services it is */
	__u32 pad;
	__u64 opened_ns; /* CLOCK_MONOTONIC */
	__u64 hash_keys[2 * FLOW_WORDS + 1];
	__u64 gap_bounds[GAP_BUCKETS];
	__u8 inner; /* look into tunnels */
	__u8 health;
	__u8 sizes;
	__u8 checksum;
	__u8 segments;	   /* follow TCP; there must be a flow table, and sample_rate 1 */
	__u8 distinct;	   /* estimate the number of flows */
	__u8 untimed;	   /* no times of flows; for measurements */
	__u8 filtered;	   /* whether filter asks for something */
	__u8 more;	   /* whether more than totals are counted of every packet */
	__u8 fixed_inputs; /* for tests: the clock and the random numbers are struct cpu's */
	__u8 pad_flags[6];
};

#endif
