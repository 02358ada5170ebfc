/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The entry points, one for each hook. What they do is in the headers: lb.h, from the top down. */
#include <stddef.h>

#include "lb.h"

SEC("xdp.frags")
int external_xdp(struct xdp_md *ctx)
{
	return handle(ctx, NT_PROGRAM_EXTERNAL_XDP, NT_FORWARD);
}

SEC("tc")
int external_ingress(struct __sk_buff *ctx)
{
	return handle(ctx, NT_PROGRAM_EXTERNAL_INGRESS, NT_FORWARD);
}

SEC("tc")
int external_egress(struct __sk_buff *ctx)
{
	return handle(ctx, NT_PROGRAM_EXTERNAL_EGRESS, NT_REVERSE);
}

SEC("tc")
int workload_ingress(struct __sk_buff *ctx)
{
	return handle(ctx, NT_PROGRAM_WORKLOAD_INGRESS, NT_FORWARD);
}

SEC("tc")
int workload_egress(struct __sk_buff *ctx)
{
	return handle(ctx, NT_PROGRAM_WORKLOAD_EGRESS, NT_REVERSE);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
