/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The entry points, one for each hook. What they do is in the headers: lb.h, from the top down. */
#include <stddef.h>

#include "lb.h"
#include "sockiter.h"

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

/* The socket hooks, on the root of the cgroup v2 hierarchy. */

SEC("cgroup/connect4")
int socket_connect4(struct bpf_sock_addr *ctx)
{
	return socket_outward(ctx, HOOK_CONNECT, false);
}

SEC("cgroup/connect6")
int socket_connect6(struct bpf_sock_addr *ctx)
{
	return socket_outward(ctx, HOOK_CONNECT, true);
}

SEC("cgroup/sendmsg4")
int socket_sendmsg4(struct bpf_sock_addr *ctx)
{
	return socket_outward(ctx, HOOK_SENDMSG, false);
}

SEC("cgroup/sendmsg6")
int socket_sendmsg6(struct bpf_sock_addr *ctx)
{
	return socket_outward(ctx, HOOK_SENDMSG, true);
}

SEC("cgroup/recvmsg4")
int socket_recvmsg4(struct bpf_sock_addr *ctx)
{
	return socket_received(ctx, false);
}

SEC("cgroup/recvmsg6")
int socket_recvmsg6(struct bpf_sock_addr *ctx)
{
	return socket_received(ctx, true);
}

SEC("cgroup/getpeername4")
int socket_getpeername4(struct bpf_sock_addr *ctx)
{
	return socket_peername(ctx, false);
}

SEC("cgroup/getpeername6")
int socket_getpeername6(struct bpf_sock_addr *ctx)
{
	return socket_peername(ctx, true);
}

SEC("cgroup/post_bind4")
int socket_post_bind4(struct bpf_sock *ctx)
{
	return socket_bound(ctx, false);
}

SEC("cgroup/post_bind6")
int socket_post_bind6(struct bpf_sock *ctx)
{
	return socket_bound(ctx, true);
}

SEC("iter/bpf_sk_storage_map")
int list_sockets(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	return list_socket(ctx);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
