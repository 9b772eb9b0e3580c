// SPDX-License-Identifier: MIT OR GPL-2.0
/* The tap's programs, one per hook and way that copies come. */
#include "pipeline.h"

SEC("tcx/ingress")
int telegen_ingress(struct __sk_buff *skb)
{
	return observe(skb);
}

SEC("tcx/egress")
int telegen_egress(struct __sk_buff *skb)
{
	return observe(skb);
}

SEC("tcx/ingress")
int telegen_copies(struct __sk_buff *skb)
{
	return observe_copies(skb);
}

SEC("tcx/ingress")
int telegen_layers(struct __sk_buff *skb)
{
	return observe_slowly(skb);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
