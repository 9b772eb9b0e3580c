/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * The mirror copies that SONiC's orchagent programs, which nearly all are: bare GRE behind IPv4
 * without options, linear, and nothing else. Whatever is different in any way is left to
 * encapsulation.h, which says the same of these.
 */
#ifndef TELEGEN_ENCAPSULATION_FAST_H
#define TELEGEN_ENCAPSULATION_FAST_H

#include "encapsulation.h"
#include "parse_fast.h"

/* Where the copied frame is; 0: not such a copy of this job's. */
static __always_inline place unwrap_fast(const struct frame *frame)
{
	const struct ethhdr *eth = (const void *)frame->data;
	const struct iphdr *ip = (const void *)(eth + 1);
	const struct gre *gre = (const void *)(ip + 1);
	const __u64 base = sizeof(*eth) + sizeof(*ip) + sizeof(*gre);
	__u64 end;

	if (config.wrapping.version != 4 || (const char *)(gre + 1) > frame->data_end)
		return 0;
	if (eth->h_proto != bpf_htons(ETH_P_IP) || *(const __u8 *)ip != IP4_PLAIN ||
	    ip->protocol != IPPROTO_GRE)
		return 0;
	if (ip->saddr != config.wrapping.src[1] >> 32 || ip->daddr != config.wrapping.dst[1] >> 32)
		return 0;
	if (ip->frag_off & bpf_htons(IP_MORE_FRAGMENTS | IP_FRAGMENT_OFFSET))
		return 0;
	if (gre->flags || gre->proto != bpf_htons(GRE_ERSPAN))
		return 0;
	end = sizeof(*eth) + bpf_ntohs(ip->tot_len);
	if (end <= base || end > frame->len)
		return 0;
	return base << 32 | (end - base);
}

#endif
