/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The short way of most packets: whole, with plain headers, of no interest to the flow table. It
 * decides what lb.h would have decided, or nothing: what is not plain goes on to lb.h untouched.
 *
 * A packet to a frontend takes it by a mark (nt_marks), which says that a moment ago the flow table
 * had a flow of this tuple whose destination alone is rewritten, to what its slot says. Until that
 * moment is over or the frontend's set another, slot and flow cannot differ, and the slot costs no
 * cache miss for each flow.
 */
#ifndef NT_SHORTCUT_H
#define NT_SHORTCUT_H

#include "select.h"

/* Neither a verdict of XDP nor one of tc. */
#define NO_SHORTCUT 1000

/* Bits of a mark that hold its tick; the others tell tuple and set. */
#define MARK_TICK_MASK 0xfffULL

static __always_inline struct nt_mark_line *mark_line(__u64 hash)
{
	struct nt_marking *marking = bpf_map_lookup_elem(&nt_marking, &zero);
	__u32 index;

	if (!marking)
		return NULL;
	index = (__u32)(hash >> 32) & marking->mask;
	return bpf_map_lookup_elem(&nt_marks, &index);
}

static __always_inline __u64 mark_of(const struct nt_set *set, __u64 hash)
{
	return (set->digest ^ hash) & ~MARK_TICK_MASK;
}

static __always_inline bool is_marked(const struct nt_set *set, __u64 hash)
{
	const struct nt_mark_line *line = mark_line(hash);
	__u64 wanted = mark_of(set, hash), mark = 0;

	if (!line)
		return false;
#pragma clang loop unroll(full)
	for (__u32 i = 0; i < NT_MARKS_PER_LINE; i++) {
		__u64 other = *(volatile __u64 *)&line->mark[i];

		if ((other & ~MARK_TICK_MASK) == wanted) {
			mark = other;
			break;
		}
	}
	return mark && ((tick() - mark) & MARK_TICK_MASK) < NT_MARK_TICKS;
}

/*
 * Puts a mark in the place of that of the same tuple and set, or of one that is no good any more,
 * or of any. Two CPUs may choose the same place: one mark is lost then, and made again.
 */
static __always_inline void put_mark(struct nt_mark_line *line, __u64 mark, __u64 hash)
{
	__u32 place = (__u32)hash % NT_MARKS_PER_LINE;

#pragma clang loop unroll(full)
	for (__u32 i = 0; i < NT_MARKS_PER_LINE; i++) {
		__u64 other = *(volatile __u64 *)&line->mark[i];

		if (!((other ^ mark) & ~MARK_TICK_MASK)) {
			place = i;
			break;
		}
		if (((mark - other) & MARK_TICK_MASK) >= NT_MARK_TICKS)
			place = i;
	}
	*(volatile __u64 *)&line->mark[place % NT_MARKS_PER_LINE] = mark;
}

/*
 * Marks the flow of a packet that lb.h has translated, if it is of the plain kind. Packets that
 * change a flow's state never take the short way, and need not have it paved.
 */
static __always_inline void mark_flow(const struct packet *pkt, const struct found *found,
				      const struct frontend *frontend, const bool v6)
{
	nt_set_id set_id = frontend->set;
	struct nt_mark_line *line;
	struct nt_set *set;
	nt_backend_id id;
	__u64 hash;

	if (nt_config.tracing || !set_id || pkt->backend || found->facts.flags & FLOW_SPECIAL ||
	    frontend->flags & NT_FRONTEND_RETIRED)
		return;
	set = bpf_map_lookup_elem(&nt_sets, &set_id);
	if (!set)
		return;
	hash = tuple_hash64(&pkt->tuple, v6);
	if (!slot_backend(set, hash >> 32, pkt->tuple.protocol, &id, v6) ||
	    id != found->facts.backend)
		return;
	line = mark_line(hash);
	if (line)
		put_mark(line, mark_of(set, hash) | (tick() & MARK_TICK_MASK), hash);
}

/* A tuple that may have had a plain flow has got one of another kind: whatever the set, all marks
 * that could be its own go. */
static __always_inline void unmark_flow(const struct tuple *t, const bool v6)
{
	struct nt_mark_line *line = nt_config.tracing ? NULL : mark_line(tuple_hash64(t, v6));

	if (line)
		__builtin_memset(line, 0, sizeof(*line));
}

/* Whether the packet is of the plain kind; what the short way needs of it is in `pkt` then. */
static __always_inline bool parse_plain(void *ctx, struct packet *pkt, const __u32 program,
					const bool v6)
{
	const __u32 l3 = sizeof(struct ethhdr);
	const __u32 l4 = l3 + (v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));
	void *data = packet_data(ctx, program);
	void *end = packet_end(ctx, program);
	nt_port *ports = data + l4;
	__u32 payload;

	if (data + l4 + sizeof(struct udphdr) > end)
		return false;
	if (v6) {
		struct ipv6hdr *ip = data + l3;

		if (ip->version != 6)
			return false;
		__builtin_memcpy(&pkt->tuple.src, &ip->saddr, sizeof(pkt->tuple.src));
		__builtin_memcpy(&pkt->tuple.dst, &ip->daddr, sizeof(pkt->tuple.dst));
		pkt->tuple.protocol = ip->nexthdr;
		payload = bpf_ntohs(ip->payload_len);
		pkt->length = payload + sizeof(*ip);
	} else {
		struct iphdr *ip = data + l3;

		/* No options, no fragment. */
		if (*(__u8 *)ip != 0x45 || ip->frag_off & bpf_htons(0x3fff))
			return false;
		pkt->tuple.src.w[0] = ip->saddr;
		pkt->tuple.dst.w[0] = ip->daddr;
		pkt->tuple.protocol = ip->protocol;
		pkt->length = bpf_ntohs(ip->tot_len);
		if (pkt->length < sizeof(*ip))
			return false;
		payload = pkt->length - sizeof(*ip);
	}
	if (!packet_holds(ctx, l3 + pkt->length, program))
		return false;
	if (pkt->tuple.protocol == IPPROTO_TCP) {
		struct tcphdr *tcp = data + l4;
		__u32 header;

		if ((void *)(tcp + 1) > end)
			return false;
		header = tcp->doff * 4;
		pkt->tcp = ((__u8 *)tcp)[13];
		if (header < sizeof(*tcp) || header > payload ||
		    (pkt->tcp & (TCP_FIN | TCP_SYN | TCP_RST | TCP_ACK)) != TCP_ACK)
			return false;
	} else if (pkt->tuple.protocol == IPPROTO_UDP) {
		__u32 size = bpf_ntohs(((struct udphdr *)ports)->len);

		pkt->tcp = 0;
		if (size < sizeof(struct udphdr) || size > payload)
			return false;
	} else {
		return false;
	}
	pkt->tuple.sport = ports[0];
	pkt->tuple.dport = ports[1];
	pkt->l3 = l3;
	pkt->l4 = l4;
	pkt->fragment = FRAGMENT_NONE;
	return true;
}

/* Translates a plain packet to `to`, and lets it go on. */
static __always_inline int translate_plain(void *ctx, const struct packet *pkt,
					   const struct tuple *to, nt_service_id service,
					   const __u8 direction, const __u32 program, const bool v6)
{
	if (rewrite(ctx, pkt, to, program, v6)) {
		count(program, NT_DROP_REWRITE);
		return packet_drop(program);
	}
	count_translated(service, direction, pkt->length);
	count(program, direction == NT_FORWARD ? NT_FORWARD_ESTABLISHED : NT_REVERSE_TRANSLATED);
	return packet_pass(program);
}

static __always_inline int pass_plain(const __u32 program)
{
	count(program, NT_PASS_NOT_SERVICE);
	return packet_pass(program);
}

static __always_inline int shortcut_forward(void *ctx, struct packet *pkt, const __u32 program,
					    const bool v6)
{
	struct nt_backend *backend;
	struct frontend frontend;
	union frontend_key key;
	struct nt_node *node;
	nt_backend_id id;
	struct nt_set *set;
	struct tuple to;
	__u64 hash;

	switch (frontend_read(&pkt->tuple, scope_of(program), &key, &frontend, v6)) {
	case NOT_FOUND:
		node = bpf_map_lookup_elem(&nt_node, &zero);
		if (is_nat_port(pkt->tuple.dport) || !node ||
		    in_cluster_range(node, &pkt->tuple.dst, v6))
			return NO_SHORTCUT;
		return pass_plain(program);
	case RACED:
		return NO_SHORTCUT;
	}
	if (!frontend.set || frontend.flags & NT_FRONTEND_RETIRED)
		return NO_SHORTCUT;
	set = bpf_map_lookup_elem(&nt_sets, &frontend.set);
	if (!set)
		return NO_SHORTCUT;
	hash = tuple_hash64(&pkt->tuple, v6);
	if (!is_marked(set, hash))
		return NO_SHORTCUT;
	backend = slot_backend(set, hash >> 32, pkt->tuple.protocol, &id, v6);
	if (!backend)
		return NO_SHORTCUT;
	to = pkt->tuple;
	copy_address(to.dst.w, backend->addr.w, v6);
	to.dport = backend->port;
	return translate_plain(ctx, pkt, &to, frontend.service, NT_FORWARD, program, v6);
}

/* Replies need the flow table, but only once a tick more of it than to be read. */
static __always_inline int shortcut_reverse(void *ctx, struct packet *pkt, const __u32 program,
					    const bool v6)
{
	struct nt_flow *flow;
	struct found found;

	if (!may_reply(&pkt->tuple, v6))
		return pass_plain(program);
	flow = flow_of(&pkt->tuple, NT_REVERSE, &found, v6);
	if (!flow || found.facts.flags & NT_FLOW_MASQUERADED)
		return pass_plain(program);
	if (flow->seen != tick() ||
	    (found.facts.flags & (NT_FLOW_REPLIED | NT_FLOW_RST)) != NT_FLOW_REPLIED)
		return NO_SHORTCUT;
	return translate_plain(ctx, pkt, &found.to, found.facts.service, NT_REVERSE, program, v6);
}

static __always_inline int shortcut(void *ctx, const __u32 program,
				    const enum nt_direction direction)
{
	struct ethhdr *eth = packet_data(ctx, program);
	struct packet pkt;
	__be16 type;

	if (nt_config.tracing || (void *)(eth + 1) > packet_end(ctx, program))
		return NO_SHORTCUT;
	type = eth->h_proto;
	/* A packet without a link header is not plain (see lacks_link_header). */
	if (!is_xdp(program) && type != ((struct __sk_buff *)ctx)->protocol)
		return NO_SHORTCUT;
	pkt.backend = 0;
	if (type == bpf_htons(ETH_P_IP) && parse_plain(ctx, &pkt, program, false))
		return direction == NT_FORWARD ? shortcut_forward(ctx, &pkt, program, false)
					       : shortcut_reverse(ctx, &pkt, program, false);
	if (type == bpf_htons(ETH_P_IPV6) && parse_plain(ctx, &pkt, program, true))
		return direction == NT_FORWARD ? shortcut_forward(ctx, &pkt, program, true)
					       : shortcut_reverse(ctx, &pkt, program, true);
	return NO_SHORTCUT;
}

/* Functions of their own, so that what they need of the stack is free again for what may follow. */
#define SHORTCUT(suffix, context, program, direction)                \
	static __noinline int shortcut_##suffix(struct context *ctx) \
	{                                                            \
		return shortcut(ctx, program, direction);            \
	}

SHORTCUT(external_xdp, xdp_md, NT_PROGRAM_EXTERNAL_XDP, NT_FORWARD)
SHORTCUT(external_ingress, __sk_buff, NT_PROGRAM_EXTERNAL_INGRESS, NT_FORWARD)
SHORTCUT(external_egress, __sk_buff, NT_PROGRAM_EXTERNAL_EGRESS, NT_REVERSE)
SHORTCUT(workload_ingress, __sk_buff, NT_PROGRAM_WORKLOAD_INGRESS, NT_FORWARD)
SHORTCUT(workload_egress, __sk_buff, NT_PROGRAM_WORKLOAD_EGRESS, NT_REVERSE)

static __always_inline int take_shortcut(void *ctx, const __u32 program)
{
	switch (program) {
	case NT_PROGRAM_EXTERNAL_XDP:
		return shortcut_external_xdp(ctx);
	case NT_PROGRAM_EXTERNAL_INGRESS:
		return shortcut_external_ingress(ctx);
	case NT_PROGRAM_EXTERNAL_EGRESS:
		return shortcut_external_egress(ctx);
	case NT_PROGRAM_WORKLOAD_INGRESS:
		return shortcut_workload_ingress(ctx);
	default:
		return shortcut_workload_egress(ctx);
	}
}

#endif
