/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Lists the connected UDP sockets that were led to backends. Nobody tells such a socket that its
 * backend is gone: datagrams vanish, and a client that never connects again never gets another one.
 * So the agent looks through this list and has the kernel end, by sock_diag, those that are over.
 * An iterator over our socket storage sees the sockets of all network namespaces, and none that
 * went to a backend by themselves.
 */
#ifndef NT_SOCKITER_H
#define NT_SOCKITER_H

#include "sock.h"

#define AF_INET6 10

/* The kernel's own, found by name when the program is loaded (CO-RE); only what is read here. */
#define KERNEL_TYPE __attribute__((preserve_access_index))

struct ns_common {
	unsigned int inum;
} KERNEL_TYPE;

struct net {
	struct ns_common ns;
} KERNEL_TYPE;

typedef struct {
	struct net *net;
} possible_net_t;

struct sock_common {
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	nt_port skc_dport;
	__u16 skc_num;
	unsigned short skc_family;
	volatile unsigned char skc_state;
	int skc_bound_dev_if;
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
} KERNEL_TYPE;

struct sock {
	struct sock_common __sk_common;
} KERNEL_TYPE;

struct bpf_iter_meta {
	struct seq_file *seq;
} KERNEL_TYPE;

struct bpf_iter__bpf_sk_storage_map {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
	struct sock *sk;
	void *value;
} KERNEL_TYPE;

/*
 * Whether frontend or backend are no more what the socket was led by. That the backend serves this
 * frontend's service no more, while others have it, only the control plane knows.
 */
static __always_inline bool is_over(const struct translation *peer, const bool v6)
{
	struct tuple t = {
	    .dst = peer->frontend, .dport = peer->frontend_port, .protocol = peer->protocol};
	nt_backend_id id = peer->id;
	struct nt_backend *backend;
	union frontend_key key = {};
	struct frontend frontend;

	switch (frontend_find_in(&t, NT_SCOPE_INTERNAL, &key, &frontend, PROGRAM, v6)) {
	case NOT_FOUND:
		return true;
	case RACED:
		return false;
	}
	if (frontend.flags & NT_FRONTEND_RETIRED || frontend.service != peer->service)
		return true;
	backend = bpf_map_lookup_elem(&nt_backends, &id);
	return !backend_fits(backend, peer->protocol, v6) || backend->state == NT_BACKEND_GONE ||
	       difference(&backend->addr, backend->port, &peer->backend, peer->backend_port);
}

/* The socket's addresses; false if it is not connected to that backend now. */
static __always_inline bool connected_to(const struct sock_common *sk,
					 const struct translation *peer, struct nt_led_socket *out)
{
	const __be32 *dst = sk->skc_v6_daddr.in6_u.u6_addr32;
	const __be32 *src = sk->skc_v6_rcv_saddr.in6_u.u6_addr32;

	out->family = sk->skc_family;
	out->dport = sk->skc_dport;
	out->sport = bpf_htons(sk->skc_num);
	out->ifindex = sk->skc_bound_dev_if;
	if (sk->skc_state != STATE_ESTABLISHED || out->dport != peer->backend_port)
		return false;
	if (out->family != AF_INET6) {
		out->dst.w[0] = sk->skc_daddr;
		out->src.w[0] = sk->skc_rcv_saddr;
		return out->dst.w[0] == peer->backend.w[0];
	}
#pragma unroll
	for (__u32 i = 0; i < 4; i++) {
		out->dst.w[i] = dst[i];
		out->src.w[i] = src[i];
	}
	return peer->family == 4 ? is_mapped(out->dst.w) && out->dst.w[3] == peer->backend.w[0]
				 : same_address(out->dst.w, peer->backend.w, true);
}

static __always_inline int list_socket(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	const struct connection *state = ctx->value;
	struct nt_led_socket out = {};
	struct sock *sk = ctx->sk;
	struct translation peer;

	if (!sk || !state)
		return 0;
	/* Without the lock, which iterators cannot take. What is torn does not fit the socket. */
	peer = state->peer;
	if (peer.protocol != IPPROTO_UDP || !connected_to(&sk->__sk_common, &peer, &out))
		return 0;
	out.cookie = bpf_get_socket_cookie(sk);
	out.netns = sk->__sk_common.skc_net.net->ns.inum;
	out.service = peer.service;
	out.backend = peer.id;
	out.over = peer.family == 6 ? is_over(&peer, true) : is_over(&peer, false);
	bpf_seq_write(ctx->meta->seq, &out, sizeof(out));
	return 0;
}

#endif
