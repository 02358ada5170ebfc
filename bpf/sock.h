/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The socket hooks. A connection is led to its backend when it is made, a datagram when it is sent,
 * and nothing is left to do for each packet. What was led where is kept in the socket's own
 * storage, which cannot overflow and goes with the socket.
 *
 * The hooks run in process context: packet programs may run on this CPU in between, so that nothing
 * here may use their scratch room.
 */
#ifndef NT_SOCK_H
#define NT_SOCK_H

#include "lb.h"

#define EPERM	     1
#define ENOMEM	     12
#define EADDRINUSE   98
#define ECONNREFUSED 111
#define EHOSTUNREACH 113

#define PROGRAM NT_PROGRAM_SOCKET

/* What a hook returns to the kernel. */
#define SOCKET_REFUSE  0 /* with the error of bpf_set_retval */
#define SOCKET_PROCEED 1

/* TCP_ESTABLISHED, which is also the state of a connected UDP socket. */
#define STATE_ESTABLISHED 1

/* Frontends one unconnected UDP socket can get answers of at the same time. */
#define DATAGRAM_PEERS 8u

/* Tries to find a backend that does not serve this socket for another frontend already. */
#define BACKEND_TRIES 16u

/* A backend that stands for a frontend. IPv4 addresses are in w[0], on IPv6 sockets too. */
struct translation {
	struct nt_addr frontend;
	struct nt_addr backend;
	nt_port frontend_port;
	nt_port backend_port;
	nt_backend_id id;
	nt_service_id service;
	__u8 family; /* 0: none */
	__u8 protocol;
	__u16 pad;
};

/* Of a connected socket. */
struct connection {
	struct bpf_spin_lock lock;
	struct translation peer;
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct connection);
} nt_connections SEC(".maps");

/* Of a UDP socket that names the receiver with each datagram. No frontend and no backend is in it
 * twice. */
struct datagrams {
	struct bpf_spin_lock lock;
	__u32 turn;
	__u32 used[DATAGRAM_PEERS]; /* the turn of the last datagram */
	struct translation peer[DATAGRAM_PEERS];
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct datagrams);
} nt_datagrams SEC(".maps");

enum socket_hook {
	HOOK_CONNECT,
	HOOK_SENDMSG,
};

/* ---- addresses ---- */

static __always_inline bool is_mapped(const __be32 *address)
{
	return !(address[0] | address[1] | (address[2] ^ bpf_htonl(0xffff)));
}

/* Loopback addresses, and the unspecified one, which the kernel takes for loopback. */
static __always_inline bool is_here(const __be32 *address, const bool v6)
{
	if (!v6)
		return (address[0] & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000) || !address[0];
	return !(address[0] | address[1] | address[2] | (address[3] & ~bpf_htonl(1)));
}

static __always_inline bool is_unspecified(const __be32 *address, const bool v6)
{
	return !(v6 ? address[0] | address[1] | address[2] | address[3] : address[0]);
}

/*
 * The address in the call, which is the destination of what is sent and the source of what is
 * received. Returns whether it is an IPv6 address: one that is IPv4-mapped is the IPv4 address.
 */
static __always_inline bool address_read(const struct bpf_sock_addr *ctx, struct nt_addr *address,
					 nt_port *port, const bool v6)
{
	*port = (nt_port)ctx->user_port;
	if (!v6) {
		address->w[0] = ctx->user_ip4;
		return false;
	}
	address->w[0] = ctx->user_ip6[0];
	address->w[1] = ctx->user_ip6[1];
	address->w[2] = ctx->user_ip6[2];
	address->w[3] = ctx->user_ip6[3];
	if (!is_mapped(address->w))
		return true;
	address->w[0] = address->w[3];
	address->w[1] = address->w[2] = address->w[3] = 0;
	return false;
}

/* `v6` is the call's family, `family` the address's. */
static __always_inline void address_write(struct bpf_sock_addr *ctx, const struct nt_addr *address,
					  nt_port port, const __u8 family, const bool v6)
{
	ctx->user_port = port;
	if (!v6) {
		ctx->user_ip4 = address->w[0];
	} else if (family == 4) { /* the prefix of mapped addresses is there already */
		ctx->user_ip6[3] = address->w[0];
	} else {
		ctx->user_ip6[0] = address->w[0];
		ctx->user_ip6[1] = address->w[1];
		ctx->user_ip6[2] = address->w[2];
		ctx->user_ip6[3] = address->w[3];
	}
}

/* The address the socket is bound to or the message names as its source; unspecified: not known. */
static __always_inline void source_read(const struct bpf_sock_addr *ctx, struct tuple *t,
					const enum socket_hook hook, const bool v6)
{
	const struct bpf_sock *sk = ctx->sk;

	t->sport = bpf_htons(sk->src_port);
	if (hook == HOOK_SENDMSG && v6) {
		t->src.w[0] = ctx->msg_src_ip6[0];
		t->src.w[1] = ctx->msg_src_ip6[1];
		t->src.w[2] = ctx->msg_src_ip6[2];
		t->src.w[3] = ctx->msg_src_ip6[3];
	} else if (hook == HOOK_SENDMSG) {
		t->src.w[0] = ctx->msg_src_ip4;
	} else if (v6) {
		t->src.w[0] = sk->src_ip6[0];
		t->src.w[1] = sk->src_ip6[1];
		t->src.w[2] = sk->src_ip6[2];
		t->src.w[3] = sk->src_ip6[3];
	} else {
		t->src.w[0] = sk->src_ip4;
	}
}

static __always_inline __u32 difference(const struct nt_addr *a, nt_port a_port,
					const struct nt_addr *b, nt_port b_port)
{
	return (a->w[0] ^ b->w[0]) | (a->w[1] ^ b->w[1]) | (a->w[2] ^ b->w[2]) |
	       (a->w[3] ^ b->w[3]) | (__u32)(a_port ^ b_port);
}

/* ---- what a socket remembers ---- */

/*
 * 1 if `x` is zero, else 0. Searches are without branches: the verifier would walk each way through
 * eight of them. The barriers keep the compiler from making some again, and from arithmetic shifts,
 * at which new verifiers branch.
 */
static __always_inline __u64 is_zero(__u64 x)
{
	__u64 bit;

	barrier_var(x);
	bit = (x - 1) >> 63;
	barrier_var(bit);
	return bit;
}

/* Which of the peers has this frontend, or this backend: its place, from 1; 0: none. */
static __always_inline __u32 peer_with_frontend(const struct datagrams *state,
						const struct nt_addr *address, nt_port port,
						__u8 family)
{
	__u32 place = 0;

#pragma unroll
	for (__u32 i = 0; i < DATAGRAM_PEERS; i++) {
		const struct translation *peer = &state->peer[i];

		place += is_zero(difference(&peer->frontend, peer->frontend_port, address, port) |
				 (peer->family ^ family)) *
			 (i + 1);
	}
	return place;
}

static __always_inline __u32 peer_with_backend(const struct datagrams *state,
					       const struct nt_addr *address, nt_port port,
					       __u8 family)
{
	__u32 place = 0;

#pragma unroll
	for (__u32 i = 0; i < DATAGRAM_PEERS; i++) {
		const struct translation *peer = &state->peer[i];

		place += is_zero(difference(&peer->backend, peer->backend_port, address, port) |
				 (peer->family ^ family)) *
			 (i + 1);
	}
	return place;
}

/* The place of the peer that was not used for longest, from 1. */
static __always_inline __u32 oldest_peer(const struct datagrams *state)
{
	__u64 oldest = ~0ULL >> 1;

#pragma unroll
	for (__u32 i = 0; i < DATAGRAM_PEERS; i++) {
		__u64 candidate = (__u64)state->used[i] << 8 | (i + 1);
		__u64 older = (candidate - oldest) >> 63;

		barrier_var(older);
		oldest += (candidate - oldest) * older;
	}
	return oldest & 0xff;
}

/* The peer at a place, from 1. */
static __always_inline __u32 place_index(__u32 place)
{
	return (place - 1) & (DATAGRAM_PEERS - 1);
}

static __always_inline void clear_peer(struct datagrams *state, __u32 place)
{
	state->peer[place_index(place)].family = 0;
	state->used[place_index(place)] = 0;
}

/*
 * Stores a translation in the place of the frontend's last one, else of the one that was not used
 * for longest. A backend that stands for another frontend of this socket is taken away from it only
 * if `force`; otherwise nothing is stored.
 */
static __always_inline bool remember_datagram(struct datagrams *state,
					      const struct translation *new, bool force)
{
	__u32 place, other;
	bool stored = true;

	bpf_spin_lock(&state->lock);
	place = peer_with_frontend(state, &new->frontend, new->frontend_port, new->family);
	other = peer_with_backend(state, &new->backend, new->backend_port, new->family);
	if (other && other != place) {
		stored = force;
		if (force)
			clear_peer(state, other);
	}
	if (stored) {
		if (!place)
			place = oldest_peer(state);
		state->used[place_index(place)] = ++state->turn;
		state->peer[place_index(place)] = *new;
	}
	bpf_spin_unlock(&state->lock);
	return stored;
}

/* What was sent to a backend itself is answered in its own name. */
static __always_inline void forget_datagram(const struct bpf_sock_addr *ctx, const struct tuple *t,
					    const bool v6)
{
	struct datagrams *state = bpf_sk_storage_get(&nt_datagrams, ctx->sk, NULL, 0);
	__u32 place;

	if (!state)
		return;
	bpf_spin_lock(&state->lock);
	place = peer_with_backend(state, &t->dst, t->dport, v6 ? 6 : 4);
	if (place)
		clear_peer(state, place);
	bpf_spin_unlock(&state->lock);
}

static __always_inline bool read_connection(const struct bpf_sock_addr *ctx,
					    struct translation *out)
{
	struct connection *state = bpf_sk_storage_get(&nt_connections, ctx->sk, NULL, 0);

	if (!state)
		return false;
	bpf_spin_lock(&state->lock);
	*out = state->peer;
	bpf_spin_unlock(&state->lock);
	return true;
}

static __always_inline bool remember_connection(const struct bpf_sock_addr *ctx,
						const struct translation *new)
{
	struct connection *state =
	    bpf_sk_storage_get(&nt_connections, ctx->sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);

	if (!state)
		return false;
	bpf_spin_lock(&state->lock);
	state->peer = *new;
	bpf_spin_unlock(&state->lock);
	return true;
}

/* ---- outward ---- */

static __always_inline bool is_host(const struct bpf_sock_addr *ctx)
{
	return bpf_get_netns_cookie((void *)ctx) == nt_config.host_netns;
}

static __always_inline int socket_refuse(const struct tuple *t, const enum nt_counter reason,
					 nt_service_id service, int error, const bool v6)
{
	count(PROGRAM, reason);
	if (service)
		count_refused(service, reason);
	report(t, NT_EVENT_REFUSED, reason, service, 0, PROGRAM, v6);
	bpf_set_retval(-error);
	return SOCKET_REFUSE;
}

/* An address that only Services may have is refused; any other is no business of ours. */
static __always_inline int socket_direct(const struct bpf_sock_addr *ctx, const struct tuple *t,
					 const enum socket_hook hook, const bool v6)
{
	struct nt_node *node = bpf_map_lookup_elem(&nt_node, &zero);

	if (node && in_cluster_range(node, &t->dst, v6)) {
		struct nt_address *address = address_lookup(&t->dst, v6);

		if (address && address->flags & NT_ADDRESS_CLUSTER_IP)
			return socket_refuse(t, NT_DROP_UNKNOWN_PORT, 0, ECONNREFUSED, v6);
		if (!address && in_service_cidr(node, &t->dst, v6))
			return socket_refuse(t, NT_DROP_UNALLOCATED, 0, EHOSTUNREACH, v6);
	}
	if (hook == HOOK_CONNECT)
		bpf_sk_storage_delete(&nt_connections, ctx->sk);
	else
		forget_datagram(ctx, t, v6);
	return SOCKET_PROCEED;
}

/*
 * Whether the backend of an earlier datagram to the frontend gets this one too (service semantics
 * 2.9). Its id may be another's by now: no flow entry keeps it for the socket.
 */
static __always_inline bool still_serves(const struct frontend *frontend,
					 const struct translation *last, const bool v6)
{
	struct nt_backend *backend;
	struct nt_set *set;

	if (last->service != frontend->service || frontend->flags & NT_FRONTEND_RETIRED)
		return false;
	backend = bpf_map_lookup_elem(&nt_backends, &last->id);
	if (!backend_fits(backend, last->protocol, v6) ||
	    difference(&backend->addr, backend->port, &last->backend, last->backend_port))
		return false;
	if (backend->state == NT_BACKEND_TERMINATING)
		return true;
	if (backend->state != NT_BACKEND_ACTIVE)
		return false;
	set = bpf_map_lookup_elem(&nt_sets, &frontend->set);
	return set && is_member(set, last->id);
}

/*
 * Completes `to`, which has a frontend, by the backend of the socket's last datagram there; 0:
 * there was none. A global function: see below.
 */
__noinline int last_datagram(struct bpf_sock_addr *ctx, struct translation *to)
{
	struct translation peer;
	struct datagrams *state;
	__u32 place;

	if (!to)
		return 0;
	/* A connected socket hears nobody but its peer. */
	if (ctx->sk->state == STATE_ESTABLISHED && read_connection(ctx, &peer) &&
	    peer.family == to->family &&
	    !difference(&peer.frontend, peer.frontend_port, &to->frontend, to->frontend_port)) {
		*to = peer;
		return 1;
	}
	state = bpf_sk_storage_get(&nt_datagrams, ctx->sk, NULL, 0);
	if (!state)
		return 0;
	bpf_spin_lock(&state->lock);
	place = peer_with_frontend(state, &to->frontend, to->frontend_port, to->family);
	if (place) {
		state->used[place_index(place)] = ++state->turn;
		*to = state->peer[place_index(place)];
	}
	bpf_spin_unlock(&state->lock);
	return !!place;
}

/*
 * Whether the socket's traffic to this frontend is to be left to the packet programs: they see its
 * source, and can change it.
 */
static __always_inline bool left_to_packets(const struct frontend *frontend, const struct tuple *t,
					    bool host, const bool v6)
{
	if (frontend->flags & NT_FRONTEND_RETIRED)
		return true;
	/* Masqueraded from a pod: the hooks cannot do that. From the host the source is its own. */
	if (!host && frontend->flags & NT_FRONTEND_MASQUERADE_INTERNAL)
		return true;
	return !host && frontend->flags & NT_FRONTEND_SOURCE_RANGES && is_unspecified(t->src.w, v6);
}

static __always_inline bool socket_source_allowed(const struct frontend *frontend,
						  const struct tuple *t, const bool v6)
{
	struct nt_node *node;

	if (!(frontend->flags & NT_FRONTEND_SOURCE_RANGES))
		return true;
	if (!is_unspecified(t->src.w, v6))
		return source_allowed(frontend->service, t->src.w, v6);
	/* Of the host, which has not chosen its source yet: its own address. */
	node = bpf_map_lookup_elem(&nt_node, &zero);
	return node && source_allowed(frontend->service, v6 ? node->addr6 : node->addr4, v6);
}

/* The backend of a new flow; 0: the maps contradict themselves. A global function: verified once.
 */
__noinline int choose_backend(struct frontend *frontend, struct nt_addr *client, __u32 protocol,
			      __u32 family)
{
	nt_backend_id id = 0;

	if (!frontend || !client)
		return 0;
	return select_backend(frontend, client, bpf_get_prandom_u32(), protocol, &id, family == 6)
		   ? id
		   : 0;
}

/* Fills in a backend for the frontend of `to`; false if the maps contradict themselves. */
static __always_inline bool fill_in(struct bpf_sock_addr *ctx, struct frontend *frontend,
				    struct translation *to)
{
	__u64 cookie = bpf_get_netns_cookie(ctx);
	struct nt_addr client = {.w = {cookie, cookie >> 32, ~0u, ~0u}};
	/* Linux 6.1 takes no key from what a global function was given. */
	nt_backend_id id = choose_backend(frontend, &client, to->protocol, to->family);
	struct nt_backend *backend = bpf_map_lookup_elem(&nt_backends, &id);

	if (!id || !backend)
		return false;
	to->id = id;
	to->backend = backend->addr;
	to->backend_port = backend->port;
	return true;
}

/*
 * Global functions for what the verifier would otherwise walk once for each way to get there. They
 * choose the backend for the frontend of `to`, and remember it: 0, or what is wrong.
 */
__noinline int choose_for_connection(struct bpf_sock_addr *ctx, struct frontend *frontend,
				     struct translation *to)
{
	if (!frontend || !to || !fill_in(ctx, frontend, to))
		return NT_DROP_BAD_SLOT;
	return remember_connection(ctx, to) ? 0 : NT_DROP_FLOW_TABLE;
}

__noinline int choose_for_datagram(struct bpf_sock_addr *ctx, struct frontend *frontend,
				   struct translation *to)
{
	struct datagrams *state;

	if (!frontend || !to)
		return NT_DROP_BAD_SLOT;
	state = bpf_sk_storage_get(&nt_datagrams, ctx->sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!state)
		return NT_DROP_FLOW_TABLE;
	for (__u32 try = 1; try <= BACKEND_TRIES; try++) {
		if (!fill_in(ctx, frontend, to))
			break;
		if (remember_datagram(state, to, try == BACKEND_TRIES || frontend->affinity))
			return 0;
	}
	return NT_DROP_BAD_SLOT;
}

/* A connection or a datagram to a frontend. */
static __always_inline int socket_forward(struct bpf_sock_addr *ctx, struct tuple *t,
					  struct frontend *frontend, bool host,
					  const enum socket_hook hook, const bool socket6,
					  const bool v6)
{
	struct translation to = {
	    .frontend = t->dst,
	    .frontend_port = t->dport,
	    .family = v6 ? 6 : 4,
	    .protocol = t->protocol,
	};
	int err;

	if (hook == HOOK_SENDMSG && last_datagram(ctx, &to) && still_serves(frontend, &to, v6)) {
		address_write(ctx, &to.backend, to.backend_port, v6 ? 6 : 4, socket6);
		count(PROGRAM, NT_FORWARD_ESTABLISHED);
		return SOCKET_PROCEED;
	}
	if (left_to_packets(frontend, t, host, v6)) {
		if (hook == HOOK_CONNECT)
			bpf_sk_storage_delete(&nt_connections, ctx->sk);
		count(PROGRAM,
		      frontend->flags & NT_FRONTEND_RETIRED ? NT_PASS_RETIRED : NT_PASS_TO_TC);
		return SOCKET_PROCEED;
	}
	if (!socket_source_allowed(frontend, t, v6))
		return socket_refuse(t, NT_DROP_SOURCE_RANGE, frontend->service, EPERM, v6);
	if (!frontend->set)
		return socket_refuse(t,
				     frontend->refusal == NT_REFUSAL_NO_LOCAL_ENDPOINTS
					 ? NT_DROP_NO_LOCAL_ENDPOINTS
					 : NT_DROP_NO_ENDPOINTS,
				     frontend->service, ECONNREFUSED, v6);
	to.service = frontend->service;
	err = hook == HOOK_CONNECT ? choose_for_connection(ctx, frontend, &to)
				   : choose_for_datagram(ctx, frontend, &to);
	if (err)
		return socket_refuse(t, err, frontend->service,
				     err == NT_DROP_FLOW_TABLE ? ENOMEM : ECONNREFUSED, v6);
	address_write(ctx, &to.backend, to.backend_port, v6 ? 6 : 4, socket6);
	count(PROGRAM, NT_FORWARD_NEW);
	count_new_flow(frontend->service);
	report(t, NT_EVENT_NEW_FLOW, NT_FORWARD_NEW, frontend->service, to.id, PROGRAM, v6);
	return SOCKET_PROCEED;
}

static __always_inline int socket_lookup(struct bpf_sock_addr *ctx, struct tuple *t,
					 const enum socket_hook hook, const bool socket6,
					 const bool v6)
{
	bool host = is_host(ctx);
	union frontend_key key = {};
	struct frontend frontend;

	if (!host && nt_config.sockets != NT_SOCKETS_ALL)
		return SOCKET_PROCEED;
	source_read(ctx, t, hook, v6);
	/* A pod's loopback is its own; and what is bound there reaches nothing else. */
	if ((!host && is_here(t->dst.w, v6)) ||
	    (!is_unspecified(t->src.w, v6) && is_here(t->src.w, v6)))
		return socket_direct(ctx, t, hook, v6);
	switch (frontend_find_in(t, NT_SCOPE_INTERNAL, &key, &frontend, PROGRAM, v6)) {
	case NOT_FOUND:
		return socket_direct(ctx, t, hook, v6);
	case RACED:
		return socket_refuse(t, NT_DROP_RACE, 0, ECONNREFUSED, v6);
	}
	return socket_forward(ctx, t, &frontend, host, hook, socket6, v6);
}

static __always_inline int socket_outward(struct bpf_sock_addr *ctx, const enum socket_hook hook,
					  const bool socket6)
{
	struct tuple t = {.protocol = ctx->protocol};
	bool v6;

	if (t.protocol != IPPROTO_TCP && t.protocol != IPPROTO_UDP)
		return SOCKET_PROCEED;
	v6 = address_read(ctx, &t.dst, &t.dport, socket6);
	/* The kernel sends a datagram to a mapped address as IPv4, and calls the hook of that. */
	if (hook == HOOK_SENDMSG && v6 != socket6)
		return SOCKET_PROCEED;
	return v6 ? socket_lookup(ctx, &t, hook, socket6, true)
		  : socket_lookup(ctx, &t, hook, socket6, false);
}

/* ---- inward ---- */

/* getpeername: the peer is told by the name it was called. */
static __always_inline int socket_peername(struct bpf_sock_addr *ctx, const bool socket6)
{
	struct translation peer;
	struct nt_addr address = {};
	nt_port port;
	__u8 family = address_read(ctx, &address, &port, socket6) ? 6 : 4;

	if (read_connection(ctx, &peer) && peer.family == family &&
	    !difference(&peer.backend, peer.backend_port, &address, port))
		address_write(ctx, &peer.frontend, peer.frontend_port, family, socket6);
	return SOCKET_PROCEED;
}

/* recvmsg: a datagram's sender is told by the name it was called. */
static __always_inline int socket_received(struct bpf_sock_addr *ctx, const bool socket6)
{
	struct datagrams *state = bpf_sk_storage_get(&nt_datagrams, ctx->sk, NULL, 0);
	struct translation peer = {};
	struct nt_addr address = {};
	nt_port port;
	__u8 family = address_read(ctx, &address, &port, socket6) ? 6 : 4;
	__u32 place;

	if (ctx->sk->state != STATE_ESTABLISHED || !read_connection(ctx, &peer) ||
	    peer.family != family || difference(&peer.backend, peer.backend_port, &address, port)) {
		peer.family = 0;
		if (!state)
			return SOCKET_PROCEED;
		bpf_spin_lock(&state->lock);
		place = peer_with_backend(state, &address, port, family);
		if (place)
			peer = state->peer[place_index(place)];
		bpf_spin_unlock(&state->lock);
	}
	if (!peer.family)
		return SOCKET_PROCEED;
	address_write(ctx, &peer.frontend, peer.frontend_port, family, socket6);
	count(PROGRAM, NT_REVERSE_TRANSLATED);
	return SOCKET_PROCEED;
}

/* ---- binding ---- */

static __always_inline bool is_node_port(const __be32 *address, nt_port port, __u8 protocol,
					 const bool v6)
{
	struct tuple t = {.dport = port, .protocol = protocol};
	union frontend_key key = {};
	struct frontend frontend;

	copy_address(t.dst.w, address, v6);
	return frontend_find_in(&t, NT_SCOPE_INTERNAL, &key, &frontend, PROGRAM, v6) == FOUND &&
	       frontend.flags & NT_FRONTEND_NODE_PORT && !(frontend.flags & NT_FRONTEND_RETIRED);
}

/*
 * A process of the node that binds a NodePort would never hear from anybody. Binds to all addresses
 * meet the frontends of the unspecified address, which the control plane makes for this. An IPv6
 * socket bound to all addresses may be one of IPv4 too.
 */
static __always_inline int socket_bound(struct bpf_sock *sk, const bool socket6)
{
	const __u8 protocol = sk->protocol;
	const nt_port port = bpf_htons(sk->src_port);
	struct nt_addr address = {};
	bool taken;

	if (bpf_get_netns_cookie(sk) != nt_config.host_netns)
		return SOCKET_PROCEED;
	if (socket6) {
		address.w[0] = sk->src_ip6[0];
		address.w[1] = sk->src_ip6[1];
		address.w[2] = sk->src_ip6[2];
		address.w[3] = sk->src_ip6[3];
	} else {
		address.w[0] = sk->src_ip4;
	}
	if (socket6 && !is_mapped(address.w))
		taken = is_node_port(address.w, port, protocol, true) ||
			(is_unspecified(address.w, true) &&
			 is_node_port(address.w, port, protocol, false));
	else
		taken = is_node_port(&address.w[socket6 ? 3 : 0], port, protocol, false);
	if (!taken)
		return SOCKET_PROCEED;
	bpf_set_retval(-EADDRINUSE);
	return SOCKET_REFUSE;
}

#endif
