/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Direct server return: the packet goes to the backend's node as it is, inside another IP header
 * (RFC 2003, RFC 2473), and that node answers the client itself.
 */
#ifndef NT_DSR_H
#define NT_DSR_H

#include "fragment.h"
#include "path.h"
#include "select.h"

static __always_inline __u32 outer_length(const bool v6)
{
	return v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
}

/* The header around a packet whose own begins with `inner`. */
static __always_inline void outer_header(union outer *outer, const struct packet *pkt, __be32 inner,
					 const __be32 *src, const __be32 *dst, const bool v6)
{
	__u64 sum = 0;

	if (v6) {
		struct ipv6hdr *ip = &outer->v6;

		/* Version, traffic class and flow label are the packet's own. */
		*(__be32 *)ip = inner;
		ip->payload_len = bpf_htons(pkt->length);
		ip->nexthdr = IPPROTO_IPV6;
		ip->hop_limit = 64;
		copy_address(ip->saddr.in6_u.u6_addr32, src, true);
		copy_address(ip->daddr.in6_u.u6_addr32, dst, true);
		return;
	}
	__builtin_memset(&outer->v4, 0, sizeof(outer->v4));
	outer->v4.version = 4;
	outer->v4.ihl = sizeof(outer->v4) / 4;
	outer->v4.tos = bpf_ntohl(inner) >> 16;
	outer->v4.tot_len = bpf_htons(pkt->length + sizeof(outer->v4));
	/* Never to be cut up on the way, hence without an id (RFC 6864). */
	outer->v4.frag_off = bpf_htons(0x4000);
	outer->v4.ttl = 64;
	outer->v4.protocol = IPPROTO_IPIP;
	outer->v4.saddr = src[0];
	outer->v4.daddr = dst[0];
	for (__u32 i = 0; i < sizeof(outer->v4) / 4; i++)
		sum += ((__be32 *)&outer->v4)[i];
	outer->v4.check = ~fold16(sum);
}

static __always_inline int encapsulate_xdp(struct xdp_md *ctx, const union outer *outer,
					   const struct nt_path *path, const bool v6)
{
	struct ethhdr *eth;
	void *end;

	if (bpf_xdp_adjust_head(ctx, -(int)outer_length(v6)))
		return -1;
	eth = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	if ((void *)(eth + 1) + outer_length(v6) > end)
		return -1;
	eth->h_proto = bpf_htons(v6 ? ETH_P_IPV6 : ETH_P_IP);
	if (v6)
		*(struct ipv6hdr *)(eth + 1) = outer->v6;
	else
		*(struct iphdr *)(eth + 1) = outer->v4;
	__builtin_memcpy(eth->h_dest, path->destination, sizeof(eth->h_dest));
	__builtin_memcpy(eth->h_source, path->source, sizeof(eth->h_source));
	return 0;
}

static __always_inline int encapsulate_skb(struct __sk_buff *skb, const struct packet *pkt,
					   union outer *outer, const struct nt_path *path,
					   const bool v6)
{
	/* may_send() has seen to it that each segment has room for the header. */
	const __u64 flags = BPF_F_ADJ_ROOM_FIXED_GSO |
			    (v6 ? BPF_F_ADJ_ROOM_ENCAP_L3_IPV6 : BPF_F_ADJ_ROOM_ENCAP_L3_IPV4);

	if (bpf_skb_adjust_room(skb, outer_length(v6), BPF_ADJ_ROOM_MAC, flags))
		return -1;
	if (bpf_skb_store_bytes(skb, pkt->l3 & L4_OFFSET_MAX, outer, outer_length(v6),
				BPF_F_INVALIDATE_HASH))
		return -1;
	return link_header_skb(skb, pkt, path, v6);
}

/* Sends the packet inside a header to `to->dst`; may_send() has been asked with the overhead. */
static __always_inline int send_encapsulated(void *ctx, const struct packet *pkt,
					     struct scratch *work, const struct nt_path *path,
					     const struct tuple *to, nt_service_id service,
					     const __u32 program, const bool v6)
{
	__be32 inner;
	void *data;

	work->route.path = *path;
	source_address(&work->route, v6);
	if (decrement_hop_limit(ctx, pkt, program, v6))
		return drop(&pkt->tuple, NT_DROP_REWRITE, service, program, v6);
	data = packet_data(ctx, program) + (pkt->l3 & L4_OFFSET_MAX);
	if (data + sizeof(inner) > packet_end(ctx, program))
		return drop(&pkt->tuple, NT_DROP_REWRITE, service, program, v6);
	inner = *(__be32 *)data;
	outer_header(&work->outer, pkt, inner, work->route.source, to->dst.w, v6);
	if (is_xdp(program) ? encapsulate_xdp(ctx, &work->outer, path, v6)
			    : encapsulate_skb(ctx, pkt, &work->outer, path, v6))
		return drop(&pkt->tuple, NT_DROP_REWRITE, service, program, v6);
	trace_rewrite(to);
	count(program, NT_DSR_ENCAPSULATED);
	count_translated(service, NT_FORWARD, pkt->length);
	return leave(ctx, path, program);
}

/* ---- on the backend's node ---- */

/* Looks for the local backend a packet was encapsulated for among the members of a set. */
struct tunnel_search {
	struct nt_addr wanted;
	__u32 line; /* of the first member */
	__u32 count;
	nt_backend_id id; /* 0: not found */
	__u8 protocol;
	__u8 family;
};

static __always_inline bool is_tunnel_end(struct tunnel_search *search, nt_backend_id id)
{
	struct nt_backend *backend = bpf_map_lookup_elem(&nt_backends, &id);

	return backend && backend->flags & NT_BACKEND_LOCAL &&
	       (backend->state == NT_BACKEND_ACTIVE || backend->state == NT_BACKEND_TERMINATING) &&
	       backend->protocol == search->protocol && backend->family == search->family &&
	       same_address(backend->addr.w, search->wanted.w, true);
}

static long tunnel_step(__u32 member, struct tunnel_search *search)
{
	__u32 index = search->line + member / NT_SLOTS_PER_LINE;
	struct nt_slot_line *line;
	nt_backend_id id;

	if (member >= search->count)
		return 1;
	line = bpf_map_lookup_elem(&nt_slots, &index);
	if (!line)
		return 1;
	id = line->slot[member % NT_SLOTS_PER_LINE];
	if (!is_tunnel_end(search, id))
		return 0;
	search->id = id;
	return 1;
}

/*
 * The backend with this address that a flow's frontend has, by preference the one the flow's own
 * slot says: the other node chose by the same table.
 */
static __always_inline nt_backend_id tunnel_backend(const struct tuple *t,
						    const struct frontend *frontend,
						    const struct nt_addr *address, const bool v6)
{
	nt_set_id set_id = frontend->set;
	struct nt_set *set = bpf_map_lookup_elem(&nt_sets, &set_id);
	struct tunnel_search search = {
	    .wanted = *address, .protocol = t->protocol, .family = v6 ? 6 : 4};
	nt_backend_id id = 0;

	if (!set_id || !set)
		return 0;
	if (slot_backend(set, tuple_hash(t, v6), t->protocol, &id, v6) &&
	    is_tunnel_end(&search, id))
		return id;
	search.line = set->line + (set->slots + NT_SLOTS_PER_LINE - 1) / NT_SLOTS_PER_LINE;
	search.count = set->backends;
	/* More members than endpoint slices of a Service can sensibly have. */
	bpf_loop(16384, tunnel_step, &search, 0);
	return search.id;
}

/* What follows the fixed IPv6 header of the packet inside; false if that is no fragment header. */
static __always_inline bool inner_fragment(void *ctx, __u32 offset, struct tuple *t,
					   struct fragmentation *fragmentation, const __u32 program)
{
	struct {
		__u8 next;
		__u8 reserved;
		__be16 offset;
		__be32 id;
	} header;

	if (t->protocol != IPPROTO_FRAGMENT ||
	    load_bytes(ctx, offset, &header, sizeof(header), program))
		return false;
	t->protocol = header.next;
	fragmentation->offset = bpf_ntohs(header.offset) & ~7;
	fragmentation->id = header.id;
	return true;
}

/* The tuple of the packet inside; false if it is not a plain TCP or UDP one. */
static __always_inline bool inner_tuple(void *ctx, const struct packet *pkt, struct scratch *work,
					const __u32 program, const bool v6)
{
	struct tuple *t = &work->wire;
	struct fragment_scratch *tmp = fragment_scratch();
	struct fragmentation fragmentation = {};
	__u32 l4 = pkt->l4;
	nt_port ports[2];

	__builtin_memset(t, 0, sizeof(*t));
	if (load_bytes(ctx, pkt->l4, &work->outer, outer_length(v6), program))
		return false;
	if (v6) {
		if (work->outer.v6.version != 6)
			return false;
		__builtin_memcpy(&t->src, &work->outer.v6.saddr, sizeof(t->src));
		__builtin_memcpy(&t->dst, &work->outer.v6.daddr, sizeof(t->dst));
		t->protocol = work->outer.v6.nexthdr;
		l4 += sizeof(struct ipv6hdr);
		if (inner_fragment(ctx, l4, t, &fragmentation, program))
			l4 += 8;
	} else {
		if (work->outer.v4.version != 4)
			return false;
		ipv4_fragmentation(&work->outer.v4, &fragmentation);
		t->src.w[0] = work->outer.v4.saddr;
		t->dst.w[0] = work->outer.v4.daddr;
		t->protocol = work->outer.v4.protocol;
		l4 += work->outer.v4.ihl * 4;
	}
	if (fragmentation.offset)
		return tmp && recall_ports(&tmp->key.datagram, t, fragmentation.id, v6);
	if ((t->protocol != IPPROTO_TCP && t->protocol != IPPROTO_UDP) ||
	    load_bytes(ctx, l4, ports, sizeof(ports), program))
		return false;
	t->sport = ports[0];
	t->dport = ports[1];
	return true;
}

static __always_inline int strip_outer(void *ctx, const struct packet *pkt, const __u32 program,
				       const bool v6)
{
	struct ethhdr eth, *front;

	if (!is_xdp(program))
		return bpf_skb_adjust_room(ctx, -(int)outer_length(v6), BPF_ADJ_ROOM_MAC,
					   BPF_F_ADJ_ROOM_FIXED_GSO);
	front = packet_data(ctx, program);
	if ((void *)(front + 1) > packet_end(ctx, program))
		return -1;
	eth = *front;
	if (bpf_xdp_adjust_head(ctx, outer_length(v6)))
		return -1;
	front = packet_data(ctx, program);
	if ((void *)(front + 1) > packet_end(ctx, program))
		return -1;
	*front = eth;
	return 0;
}

#define DECAPSULATED 1
#define NOT_OURS     0

/*
 * The backend here that the packet in `work->wire` was encapsulated for; 0: none. That of its flow,
 * which lasts longer than the backend's place in the set and the frontend's in the Service; or one
 * of the set's.
 */
static __always_inline nt_backend_id tunnel_end(struct scratch *work, const struct nt_addr *address,
						const __u32 program, const bool v6)
{
	struct found *found = &work->found;

	if (frontend_find(&work->wire, NT_SCOPE_EXTERNAL, work, program, v6) != FOUND ||
	    !(work->frontend.flags & NT_FRONTEND_DSR))
		return 0;
	if (flow_of(&work->wire, NT_FORWARD, found, v6) && !(found->facts.flags & FLOW_SENT_ON) &&
	    same_address(found->to.dst.w, address->w, v6))
		return found->facts.backend;
	return tunnel_backend(&work->wire, &work->frontend, address, v6);
}

/*
 * Takes the outer header off a packet for a local backend of a frontend that other nodes send to
 * directly; work->pkt.backend is the backend then.
 */
static __always_inline int decapsulate(void *ctx, struct packet *pkt, const __u32 program,
				       const bool v6)
{
	struct scratch *work = scratch();
	struct nt_addr address = pkt->tuple.dst;
	nt_backend_id id;

	if (!work || pkt->l4 - pkt->l3 != outer_length(v6) ||
	    (is_xdp(program) && pkt->l3 != sizeof(struct ethhdr)) ||
	    !inner_tuple(ctx, pkt, work, program, v6))
		return NOT_OURS;
	id = tunnel_end(work, &address, program, v6);
	if (!id || strip_outer(ctx, pkt, program, v6))
		return NOT_OURS;
	__builtin_memset(&work->pkt, 0, sizeof(work->pkt));
	work->pkt.backend = id;
	count(program, NT_DSR_DECAPSULATED);
	return DECAPSULATED;
}

/* ---- the backend's answer ---- */

struct mss_search {
	struct __sk_buff *skb;
	__u32 offset;
	__u32 end;
	__u32 check; /* offset of the TCP checksum */
	__u16 most;
};

/* One TCP option a step (RFC 9293 3.1). */
static long mss_step(__u32 step, struct mss_search *search)
{
	__u8 option[2];
	__be16 mss, most;

	if (search->offset + 4 > search->end ||
	    bpf_skb_load_bytes(search->skb, search->offset, option, sizeof(option)) || !option[0])
		return 1;
	if (option[0] == 1) {
		search->offset++;
		return 0;
	}
	if (option[0] != 2) {
		search->offset += option[1] < 2 ? 2 : option[1];
		return 0;
	}
	if (bpf_skb_load_bytes(search->skb, search->offset + 2, &mss, sizeof(mss)) ||
	    bpf_ntohs(mss) <= search->most)
		return 1;
	most = bpf_htons(search->most);
	bpf_skb_store_bytes(search->skb, search->offset + 2, &most, sizeof(most), 0);
	bpf_l4_csum_replace(search->skb, search->check, mss, most, sizeof(most));
	return 1;
}

/*
 * Lowers the MSS that a SYN-ACK tells the client, so that what it sends still fits into the MTU of
 * this node's devices with the outer header around it.
 */
static __always_inline void clamp_mss(struct __sk_buff *skb, const struct packet *pkt,
				      const bool v6)
{
	const __u32 headers = 2 * outer_length(v6) + sizeof(struct tcphdr);
	struct mss_search search = {.skb = skb,
				    .offset = pkt->l4 + sizeof(struct tcphdr),
				    .check = pkt->l4 + offsetof(struct tcphdr, check)};
	__u32 mtu = 0;
	__u8 doff;

	if (bpf_check_mtu(skb, 0, &mtu, 0, 0) < 0 || mtu <= headers ||
	    bpf_skb_load_bytes(skb, pkt->l4 + 12, &doff, sizeof(doff)))
		return;
	search.most = mtu - headers;
	search.end = pkt->l4 + (doff >> 4) * 4;
	bpf_loop(40, mss_step, &search, 0);
}

__noinline int clamp_mss4(struct __sk_buff *skb, struct packet *pkt)
{
	if (pkt)
		clamp_mss(skb, pkt, false);
	return 0;
}

__noinline int clamp_mss6(struct __sk_buff *skb, struct packet *pkt)
{
	if (pkt)
		clamp_mss(skb, pkt, true);
	return 0;
}

#endif
