/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * What the virtual ASIC keeps in its maps; user space reads the same types through the skeleton.
 * Octets are Ethernet frame bytes without FCS, VLAN tags included.
 */
#ifndef LAB_TYPES_H
#define LAB_TYPES_H

#include <linux/types.h>

/* One cell per CPU and port. Only softirqs of that CPU write it, so plain additions are exact. */
struct lab_port_cell {
	__u64 rx_unicast;
	__u64 rx_other; /* multicast and broadcast */
	__u64 rx_octets;
	__u64 tx_unicast;
	__u64 tx_other;
	__u64 tx_octets;
	/* Frames that came out at the far end of the port's wire: proof that nothing was lost on
	 * the way. */
	__u64 left_packets;
	__u64 left_octets;
};

/* One cell per CPU and destination (a port, or the collector): what became of the copies for it.
 * Octets are the copied frames', without what they were wrapped into.
 */
struct lab_copy_cell {
	__u64 delivered;
	__u64 delivered_octets;
	__u64 policed; /* over the rate of --policer */
	__u64 refused; /* the kernel did not take it: longer than the device allows, or its queue
			  was full */
	__u64 lost;    /* numbered, then dropped on purpose: a loss on the way to the collector */
};

/* One per port and side: where its copies go. Read and written as one 64-bit word. */
struct lab_binding {
	__u32 destination_plus_one; /* row of lab_copies; 0: nowhere */
	__u32 tunnel_plus_one;	    /* row of lab_tunnels; 0: copies go as they are */
};

/* One per port and side: which frames are copied, and how much of them (SAI SAMPLEPACKET). Written
 * before a binding makes use of it.
 */
struct lab_sampler {
	__u32 one_of;	       /* copies 1 of so many, by chance; 0 and 1: all */
	__u32 truncate_octets; /* of copies that are wrapped; 0: whole */
};

/* Ethernet 14, IPv6 40, GRE with all options 16, the longest header behind it 22. */
#define LAB_HEAD_OCTETS 96
/* Sessions that can have copies wrapped at once; a SAI has room for about ten. */
#define LAB_TUNNELS 16

/* How one ERSPAN session wraps its copies: the bytes in front of them, and where what differs from
 * copy to copy stands in these. User space writes it before a binding names it.
 */
struct lab_tunnel {
	__u32 next_sequence; /* of the session, whatever the port */
	__u32 drop_every;    /* every so-manieth copy is lost; 0: none */
	__u32 ip_sum;	     /* IPv4: one's complement sum of the header with a length of 0 */
	__u8 head_octets;
	__u8 is_ipv6;
	/* Places in head; 0: not there. */
	__u8 checksum_at;
	__u8 sequence_at;
	__u8 erspan_at;
	__u8 gre_at;
	__u8 erspan_version; /* 1: type II; 2: type III */
	__u8 unused;	     /* no byte of the struct is padding */
	__u8 head[LAB_HEAD_OCTETS];
};

#endif
