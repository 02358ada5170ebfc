/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Sending packets on, past the stack: masqueraded ones have an address of this node as their
 * source, which the stack would take for a martian.
 */
#ifndef NT_PATH_H
#define NT_PATH_H

#include "answer.h"
#include "flow.h"

#define AF_INET	 2
#define AF_INET6 10

#define ROUTED	     0 /* route->path is set; without NT_PATH_NEIGHBOUR the neighbour is not known */
#define ROUTED_LOCAL 1 /* the address is this node's */
#define NO_ROUTE     2

/* The node's address on the device: what packets that leave by it are masqueraded with. */
static __always_inline void source_address(struct route *route, const bool v6)
{
	__u32 ifindex = route->path.ifindex;
	struct nt_device *device = bpf_map_lookup_elem(&nt_devices, &ifindex);
	struct nt_node *node = bpf_map_lookup_elem(&nt_node, &zero);
	__u32 any = 0;

	route->device = device ? device->flags : 0;
	if (device) {
		for (__u32 i = 0; i < words(v6); i++) {
			route->source[i] = v6 ? device->addr6[i] : device->addr4[0];
			any |= route->source[i];
		}
	}
	if (!any && node)
		copy_address(route->source, v6 ? node->addr6 : node->addr4, v6);
}

/* Asks for the way of a packet of that length; the answer is the kernel's. */
static __always_inline long ask_fib(void *ctx, struct bpf_fib_lookup *fib,
				    const struct route *route, __u16 length, const __u32 program,
				    const bool v6)
{
	__builtin_memset(fib, 0, sizeof(*fib));
	fib->family = v6 ? AF_INET6 : AF_INET;
	fib->l4_protocol = route->to.protocol;
	fib->sport = route->to.sport;
	fib->dport = route->to.dport;
	fib->tot_len = length;
	fib->ifindex = packet_device(ctx, program);
	if (v6) {
		copy_address(fib->ipv6_src, route->to.src.w, true);
		copy_address(fib->ipv6_dst, route->to.dst.w, true);
	} else {
		fib->ipv4_src = route->to.src.w[0];
		fib->ipv4_dst = route->to.dst.w[0];
	}
	return bpf_fib_lookup(ctx, fib, sizeof(*fib), 0);
}

static __always_inline int find_route(void *ctx, struct route *route, const __u32 program,
				      const bool v6)
{
	struct nt_trace *record = trace();
	struct bpf_fib_lookup fib;
	__u32 macs = 0;
	long err;

	/* A length that is not 0 asks for the MTU of the route too. */
	err = ask_fib(ctx, &fib, route, 1, program, v6);
	__builtin_memset(&route->path, 0, sizeof(route->path));
	route->device = 0;
	if (record)
		record->fib = err;
	if (err == BPF_FIB_LKUP_RET_NOT_FWDED)
		return ROUTED_LOCAL;
	if (err != BPF_FIB_LKUP_RET_SUCCESS && err != BPF_FIB_LKUP_RET_NO_NEIGH)
		return NO_ROUTE;
	route->path.ifindex = fib.ifindex;
	source_address(route, v6);
	if (err == BPF_FIB_LKUP_RET_NO_NEIGH) {
		/* The MTU is not told then, except to a packet too big for any. */
		if (ask_fib(ctx, &fib, route, 0xffff, program, v6) == BPF_FIB_LKUP_RET_FRAG_NEEDED)
			route->path.mtu = fib.mtu_result;
	} else {
		route->path.mtu = fib.mtu_result;
		__builtin_memcpy(route->path.destination, fib.dmac, sizeof(fib.dmac));
		__builtin_memcpy(route->path.source, fib.smac, sizeof(fib.smac));
		for (__u32 i = 0; i < sizeof(fib.dmac); i++)
			macs |= fib.dmac[i];
		/* A device without link addresses has none to give. */
		if (macs)
			route->path.flags |= NT_PATH_NEIGHBOUR;
		if (macs && route->device & NT_DEVICE_XDP)
			route->path.flags |= NT_PATH_XDP;
	}
	if (record) {
		record->flags |= NT_TRACE_PATH;
		record->path = route->path;
	}
	return ROUTED;
}

/* Global functions, verified by themselves; `route` is that of the CPU's scratch. */
__noinline int find_route4_xdp(struct xdp_md *ctx, struct route *route)
{
	return route ? find_route(ctx, route, NT_PROGRAM_EXTERNAL_XDP, false) : NO_ROUTE;
}

__noinline int find_route6_xdp(struct xdp_md *ctx, struct route *route)
{
	return route ? find_route(ctx, route, NT_PROGRAM_EXTERNAL_XDP, true) : NO_ROUTE;
}

__noinline int find_route4_skb(struct __sk_buff *ctx, struct route *route)
{
	return route ? find_route(ctx, route, NT_PROGRAM_EXTERNAL_INGRESS, false) : NO_ROUTE;
}

__noinline int find_route6_skb(struct __sk_buff *ctx, struct route *route)
{
	return route ? find_route(ctx, route, NT_PROGRAM_EXTERNAL_INGRESS, true) : NO_ROUTE;
}

/* Where a packet that is to leave as `to` goes: ROUTED, ROUTED_LOCAL or NO_ROUTE. */
static __always_inline int route_to(void *ctx, struct route *route, const struct tuple *to,
				    const __u32 program, const bool v6)
{
	route->to = *to;
	if (is_xdp(program))
		return v6 ? find_route6_xdp(ctx, route) : find_route4_xdp(ctx, route);
	return v6 ? find_route6_skb(ctx, route) : find_route4_skb(ctx, route);
}

/* Whether this program can send a packet this way: XDP needs the neighbour and an able device. */
static __always_inline bool path_usable(const struct nt_path *path, const struct packet *pkt,
					const __u32 program)
{
	/* A VLAN tag in the frame belongs to the device it came by; tc gets it out of the way. */
	return !is_xdp(program) || (path->flags & NT_PATH_XDP && pkt->l3 == sizeof(struct ethhdr));
}

/*
 * Whether the packet may be sent on with `overhead` bytes more; if not, it is answered or dropped,
 * and *verdict is set.
 */
static __always_inline bool may_send(void *ctx, const struct packet *pkt,
				     const struct nt_path *path, __u32 overhead,
				     nt_service_id service, int *verdict, const __u32 program,
				     const bool v6)
{
	enum nt_counter reason;
	bool fragmentable = false;

	/* Tags beyond the one that tc keeps out of the frame are those of the device it came by. */
	if (!is_xdp(program) && pkt->l3 > sizeof(struct ethhdr)) {
		*verdict = drop(&pkt->tuple, NT_DROP_REWRITE, service, program, v6);
		return false;
	}
	if (pkt->hop_limit <= 1)
		reason = NT_DROP_HOP_LIMIT;
	else if (path->mtu && pkt->segment + overhead > path->mtu)
		reason = NT_DROP_TOO_BIG;
	else
		return true;
	if (!can_answer(ctx, program)) {
		count(program, NT_PASS_TO_TC);
		*verdict = packet_pass(program);
		return false;
	}
	*verdict = drop(&pkt->tuple, reason, service, program, v6);
	if (!v6 && reason == NT_DROP_TOO_BIG) {
		void *data = packet_data(ctx, program);
		struct iphdr *ip = data + (pkt->l3 & L4_OFFSET_MAX);

		if ((void *)(ip + 1) <= packet_end(ctx, program))
			fragmentable = !(ip->frag_off & bpf_htons(0x4000));
	}
	if (!fragmentable)
		*verdict = answer(
		    ctx, pkt, reason == NT_DROP_HOP_LIMIT ? ANSWER_TIME_EXCEEDED : ANSWER_TOO_BIG,
		    path->mtu - overhead, program, v6);
	return false;
}

static __always_inline int decrement_hop_limit(void *ctx, const struct packet *pkt,
					       const __u32 program, const bool v6)
{
	void *data = packet_data(ctx, program);
	void *end = packet_end(ctx, program);
	__u32 l3 = pkt->l3 & L4_OFFSET_MAX;

	if (v6) {
		struct ipv6hdr *ip = data + l3;
		__u8 less = pkt->hop_limit - 1;

		/* Nothing in the packet makes up for it, so a checksum over all of it must be told.
		 */
		if (!is_xdp(program))
			return bpf_skb_store_bytes(ctx, l3 + offsetof(struct ipv6hdr, hop_limit),
						   &less, sizeof(less), BPF_F_RECOMPUTE_CSUM);
		if ((void *)(ip + 1) > end)
			return -1;
		ip->hop_limit = less;
	} else {
		struct iphdr *ip = data + l3;

		if ((void *)(ip + 1) > end)
			return -1;
		/* As ip_decrease_ttl in include/net/ip.h: RFC 1141. */
		replace_checksum(&ip->check, sum_replaced(0, bpf_htons(0x0100), 0));
		ip->ttl--;
	}
	return 0;
}

/* Makes a link header at the front of `skb` what it has to be. */
static __always_inline int link_header_skb(struct __sk_buff *skb, const struct packet *pkt,
					   const struct nt_path *path, const bool v6)
{
	struct ethhdr eth = {.h_proto = bpf_htons(v6 ? ETH_P_IPV6 : ETH_P_IP)};

	if (skb->vlan_present && bpf_skb_vlan_pop(skb))
		return -1;
	if (!pkt->l3 && bpf_skb_change_head(skb, sizeof(eth), 0))
		return -1;
	if (pkt->l3 && pkt->l3 != sizeof(eth))
		return -1;
	__builtin_memcpy(eth.h_dest, path->destination, sizeof(eth.h_dest));
	__builtin_memcpy(eth.h_source, path->source, sizeof(eth.h_source));
	return bpf_skb_store_bytes(skb, 0, &eth, sizeof(eth), 0);
}

/* Notes for a trace what the packet becomes. */
static __always_inline void trace_rewrite(const struct tuple *to)
{
	struct nt_trace *record = trace();

	if (!record)
		return;
	record->flags |= NT_TRACE_REWRITE;
	record->src = to->src;
	record->dst = to->dst;
	record->sport = to->sport;
	record->dport = to->dport;
}

/* Out of the path's device: the packet and its link header are as they shall be. */
static __always_inline int leave(void *ctx, const struct nt_path *path, const __u32 program)
{
	if (is_xdp(program) && path->ifindex == packet_device(ctx, program))
		return XDP_TX;
	if (is_xdp(program) || path->flags & NT_PATH_NEIGHBOUR)
		return bpf_redirect(path->ifindex, 0);
	return bpf_redirect_neigh(path->ifindex, NULL, 0, 0);
}

/*
 * Sends the packet, translated as it is by now, out along `path`, with its hop limit decremented.
 * may_send() has been asked before it was translated.
 */
static __always_inline int send_on(void *ctx, const struct packet *pkt, const struct nt_path *path,
				   const __u32 program, const bool v6)
{
	if (decrement_hop_limit(ctx, pkt, program, v6)) {
		count(program, NT_DROP_REWRITE);
		return packet_drop(program);
	}
	if (is_xdp(program)) {
		struct ethhdr *eth = packet_data(ctx, program);

		if ((void *)(eth + 1) > packet_end(ctx, program))
			return packet_drop(program);
		__builtin_memcpy(eth->h_dest, path->destination, sizeof(eth->h_dest));
		__builtin_memcpy(eth->h_source, path->source, sizeof(eth->h_source));
		return leave(ctx, path, program);
	}
	/* Also where the neighbour is not known yet: it makes room for the header. */
	if (link_header_skb(ctx, pkt, path, v6)) {
		count(program, NT_DROP_REWRITE);
		return packet_drop(program);
	}
	return leave(ctx, path, program);
}

/*
 * The path of an established flow that is sent on: as its entry has it, looked up again once a tick
 * so that it follows routes, neighbours and links. `facts` are what was read of `flow`.
 */
static __always_inline int flow_path(void *ctx, struct nt_flow *flow, const struct tuple *to,
				     struct flow_facts *facts, const __u32 program, const bool v6)
{
	struct nt_trace *record = trace();
	struct scratch *work;
	int answer;

	if (facts->path.ifindex && flow->seen == tick()) {
		if (record) {
			record->flags |= NT_TRACE_PATH;
			record->path = facts->path;
		}
		return ROUTED;
	}
	work = scratch();
	if (!work)
		return NO_ROUTE;
	answer = route_to(ctx, &work->route, to, program, v6);
	if (answer != ROUTED)
		return answer;
	facts->path = work->route.path;
	/* Not as a whole, but it is seldom another one, and then one packet goes astray at most. */
	if (!nt_config.tracing)
		flow->path = facts->path;
	return ROUTED;
}

#endif
