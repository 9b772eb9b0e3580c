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

/* One cell per CPU and destination port: what became of the copies for it. */
struct lab_copy_cell {
	__u64 delivered;
	__u64 delivered_octets;
	__u64 policed; /* over the rate of --policer */
	__u64 refused; /* the kernel did not take it: longer than the device allows, or its queue
			  was full */
};

/* One per port and side: where its copies go. */
struct lab_binding {
	__u32 destination_plus_one; /* 0: nowhere */
};

#endif
