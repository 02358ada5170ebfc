/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * ICMP errors about translated flows: they quote a packet as it was on the wire beyond this node,
 * and whoever sent that packet knows it by the addresses on its own side.
 */
#ifndef NT_ICMP_H
#define NT_ICMP_H

#include "path.h"

/* What an error is to say instead. */
struct error_rewrite {
	struct tuple from; /* the error's own addresses */
	struct tuple to;
	struct tuple quoted;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct error_rewrite);
} nt_icmp SEC(".maps");

static __always_inline bool read_addresses(void *ctx, const struct packet *pkt, struct tuple *t,
					   const __u32 program, const bool v6)
{
	void *l3 = packet_data(ctx, program) + (pkt->l3 & L4_OFFSET_MAX);
	struct ipv6hdr *ip6 = l3;
	struct iphdr *ip4 = l3;

	if (l3 + (v6 ? sizeof(*ip6) : sizeof(*ip4)) > packet_end(ctx, program))
		return false;
	if (v6) {
		__builtin_memcpy(&t->src, &ip6->saddr, sizeof(t->src));
		__builtin_memcpy(&t->dst, &ip6->daddr, sizeof(t->dst));
	} else {
		t->src.w[0] = ip4->saddr;
		t->dst.w[0] = ip4->daddr;
	}
	return true;
}

/*
 * Ports and checksum of the quoted transport header. A checksum that is not quoted needs no change;
 * in the first 8 bytes there is UDP's, but not TCP's. Answers with the change of the sum over all.
 */
static __always_inline __u64 rewrite_quoted_transport(void *l4, void *end, bool checksum_quoted,
						      const struct packet *pkt,
						      const struct tuple *to, __u64 addresses)
{
	const bool udp = pkt->tuple.protocol == IPPROTO_UDP;
	__u64 sum = sum_replaced(0, port_word(&pkt->tuple), port_word(to));
	nt_port *ports = l4;
	__sum16 *field =
	    l4 + (udp ? offsetof(struct udphdr, check) : offsetof(struct tcphdr, check));
	__sum16 before;

	ports[0] = to->sport;
	ports[1] = to->dport;
	if ((!udp && !checksum_quoted) || (void *)(field + 1) > end)
		return sum;
	before = *field;
	if (udp && !before)
		return sum;
	replace_checksum(field, addresses + sum);
	if (udp && !*field)
		*field = 0xffff;
	return sum_replaced(sum, before, *field);
}

/*
 * Writes straight into the packet at tc too. Within the packet every change is made up for by that
 * of a checksum: outer IPv4 addresses by their header's, all others by ICMP's, whose pseudo header
 * has the outer IPv6 ones. A CHECKSUM_COMPLETE sum over the whole of it is therefore still right.
 * And the stack never leaves an ICMP checksum to a device (CHECKSUM_PARTIAL): ICMP(v6) errors are
 * summed as they are made (icmp_push_reply, icmpv6_push_pending_frames).
 */
static __always_inline int rewrite_error(void *ctx, const struct packet *pkt,
					 const struct error_rewrite *change, const __u32 program,
					 const bool v6)
{
	const __u32 header = v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
	void *data = packet_data(ctx, program);
	void *end = packet_end(ctx, program);
	__u32 l3 = pkt->l3 & L4_OFFSET_MAX, l4 = pkt->l4 & L4_OFFSET_MAX;
	__u32 quoted = pkt->quoted & QUOTED_OFFSET_MAX;
	struct icmp_header *icmp = data + l4;
	void *quoted_l3 = icmp + 1, *quoted_l4 = data + quoted;
	bool checksum_quoted =
	    quoted + offsetof(struct tcphdr, check) + sizeof(__sum16) <= pkt->l3 + pkt->length;
	__u64 addresses, sum;

	if (data + l3 + header > end || quoted_l3 + header > end ||
	    quoted_l4 + QUOTED_TRANSPORT_MIN > end)
		return -1;
	/* The quoted IPv4 header's checksum makes up for its addresses, so that ICMP's does not
	 * change for them. */
	addresses = rewrite_addresses(quoted_l3, &pkt->tuple, &change->quoted, v6);
	sum = rewrite_quoted_transport(quoted_l4, end, checksum_quoted, pkt, &change->quoted,
				       addresses);
	if (v6)
		sum += addresses;
	addresses = rewrite_addresses(data + l3, &change->from, &change->to, v6);
	if (v6)
		sum += addresses;
	replace_checksum(&icmp->check, sum);
	return 0;
}

/* As for other packets of the flow, only that no answer is given to an ICMP error (RFC 1122 3.2.2).
 */
static __always_inline int send_error_on(void *ctx, const struct packet *pkt, struct nt_flow *flow,
					 struct flow_facts *facts,
					 const struct error_rewrite *change, const __u32 program,
					 const bool v6)
{
	if (flow_path(ctx, flow, &change->to, facts, program, v6) != ROUTED)
		return drop(&pkt->tuple, NT_DROP_NO_ROUTE, facts->service, program, v6);
	if (!path_usable(&facts->path, pkt, program)) {
		count(program, NT_PASS_TO_TC);
		return packet_pass(program);
	}
	if (pkt->hop_limit <= 1)
		return drop(&pkt->tuple, NT_DROP_HOP_LIMIT, facts->service, program, v6);
	if (facts->path.mtu && pkt->length > facts->path.mtu)
		return drop(&pkt->tuple, NT_DROP_TOO_BIG, facts->service, program, v6);
	if (rewrite_error(ctx, pkt, change, program, v6))
		return drop(&pkt->tuple, NT_DROP_REWRITE, facts->service, program, v6);
	count(program, NT_ICMP_TRANSLATED);
	return send_on(ctx, pkt, &facts->path, program, v6);
}

/*
 * Which flow the error is about, and what it is to say: the entry of the direction in which the
 * error goes, found by the quoted tuple reversed, has the whole translation. NULL: not ours to
 * translate here.
 */
static __always_inline struct nt_flow *find_quoted(const struct packet *pkt, struct scratch *work,
						   struct error_rewrite *change,
						   const enum nt_direction direction, const bool v6)
{
	const struct flow_facts *facts = &work->found.facts;
	bool masqueraded;
	struct nt_flow *flow;

	reverse_tuple(&work->wire, &pkt->tuple);
	/* About a forward packet: in the frontend's name, to the client. */
	flow = flow_of(&work->wire, NT_REVERSE, &work->found, v6);
	masqueraded = facts->flags & NT_FLOW_MASQUERADED;
	if (flow && masqueraded == (direction == NT_FORWARD)) {
		change->to = work->found.to;
	} else if (direction == NT_FORWARD) {
		/* About a reply, to the backend. */
		flow = flow_of(&work->wire, NT_FORWARD, &work->found, v6);
		/* An entry that changes nothing: see pass_answer. */
		if (!flow || !facts->backend)
			return NULL;
		copy_address(change->to.dst.w, work->found.to.dst.w, v6);
		copy_address(change->to.src.w,
			     facts->flags & NT_FLOW_MASQUERADED ? work->found.to.src.w
								: change->from.src.w,
			     v6);
	} else {
		return NULL;
	}
	reverse_tuple(&change->quoted, &work->found.to);
	return flow;
}

static __always_inline int translate_error(void *ctx, struct packet *pkt, const __u32 program,
					   const enum nt_direction direction, const bool v6)
{
	__u32 zero = 0;
	struct error_rewrite *change = bpf_map_lookup_elem(&nt_icmp, &zero);
	struct scratch *work = scratch();
	struct nt_flow *flow;

	if (!change || !work || !read_addresses(ctx, pkt, &change->from, program, v6))
		return packet_pass(program);
	flow = find_quoted(pkt, work, change, direction, v6);
	if (!flow) {
		count(program, NT_PASS_NOT_SERVICE);
		return packet_pass(program);
	}
	if (direction == NT_FORWARD && work->found.facts.flags & NT_FLOW_MASQUERADED)
		return send_error_on(ctx, pkt, flow, &work->found.facts, change, program, v6);
	if (rewrite_error(ctx, pkt, change, program, v6))
		return drop(&pkt->tuple, NT_DROP_REWRITE, work->found.facts.service, program, v6);
	count(program, NT_ICMP_TRANSLATED);
	return packet_pass(program);
}

/* Global functions: errors are rare, and the verifier takes each of these by itself. */
#define ICMP_ERROR(suffix, context, program, direction)                              \
	__noinline int icmp_error4_##suffix(struct context *ctx, struct packet *pkt) \
	{                                                                            \
		return pkt ? translate_error(ctx, pkt, program, direction, false)    \
			   : packet_pass(program);                                   \
	}                                                                            \
	__noinline int icmp_error6_##suffix(struct context *ctx, struct packet *pkt) \
	{                                                                            \
		return pkt ? translate_error(ctx, pkt, program, direction, true)     \
			   : packet_pass(program);                                   \
	}

ICMP_ERROR(xdp, xdp_md, NT_PROGRAM_EXTERNAL_XDP, NT_FORWARD)
ICMP_ERROR(external_ingress, __sk_buff, NT_PROGRAM_EXTERNAL_INGRESS, NT_FORWARD)
ICMP_ERROR(external_egress, __sk_buff, NT_PROGRAM_EXTERNAL_EGRESS, NT_REVERSE)
ICMP_ERROR(workload_ingress, __sk_buff, NT_PROGRAM_WORKLOAD_INGRESS, NT_FORWARD)
ICMP_ERROR(workload_egress, __sk_buff, NT_PROGRAM_WORKLOAD_EGRESS, NT_REVERSE)

static __always_inline int handle_icmp_error(void *ctx, struct packet *pkt, const __u32 program,
					     const bool v6)
{
	switch (program) {
	case NT_PROGRAM_EXTERNAL_XDP:
		return v6 ? icmp_error6_xdp(ctx, pkt) : icmp_error4_xdp(ctx, pkt);
	case NT_PROGRAM_EXTERNAL_INGRESS:
		return v6 ? icmp_error6_external_ingress(ctx, pkt)
			  : icmp_error4_external_ingress(ctx, pkt);
	case NT_PROGRAM_EXTERNAL_EGRESS:
		return v6 ? icmp_error6_external_egress(ctx, pkt)
			  : icmp_error4_external_egress(ctx, pkt);
	case NT_PROGRAM_WORKLOAD_INGRESS:
		return v6 ? icmp_error6_workload_ingress(ctx, pkt)
			  : icmp_error4_workload_ingress(ctx, pkt);
	default:
		return v6 ? icmp_error6_workload_egress(ctx, pkt)
			  : icmp_error4_workload_egress(ctx, pkt);
	}
}

#endif
