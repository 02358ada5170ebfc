/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Load balancing: what happens to a packet at a client's ingress (forward) and egress (reverse). */
#ifndef NT_LB_H
#define NT_LB_H

#include "dsr.h"
#include "fragment.h"
#include "icmp.h"
#include "path.h"
#include "select.h"
#include "shortcut.h"
#include "store.h"

/* Refuses a packet that begins nothing, and says so to its sender where it may know. */
static __always_inline int refuse(void *ctx, const struct packet *pkt, const enum nt_counter reason,
				  nt_service_id service, const __u32 program, const bool v6)
{
	if (!can_answer(ctx, program)) {
		count(program, NT_PASS_TO_TC);
		return packet_pass(program);
	}
	drop(&pkt->tuple, reason, service, program, v6);
	return answer(ctx, pkt, ANSWER_REFUSE, 0, program, v6);
}

/*
 * A SYN with an ACK answers a connection from here to there, whose local port happens to be a
 * frontend's (a NodePort, when the node or its masquerading chose it). An entry that changes
 * nothing lets the rest of that connection pass too.
 */
static __always_inline int pass_answer(const struct packet *pkt, const __u32 program, const bool v6)
{
	struct flow_facts facts = {.flags = NT_FLOW_REPLIED};
	struct scratch *work = scratch();
	__u32 now = tick();

	facts.created = now;
	if (work) {
		flow_key(&work->key, &pkt->tuple, NT_FORWARD, v6);
		flow_value(&work->value, &pkt->tuple, &pkt->tuple, NT_FORWARD, &facts, now, v6);
		flow_store(&work->key, &work->value, BPF_NOEXIST, v6);
	}
	unmark_flow(&pkt->tuple, v6);
	count(program, NT_PASS_NOT_SERVICE);
	return packet_pass(program);
}

/* Whether this CPU has had so many new flows in this tick that no more get entries. */
static __always_inline bool flooded(struct scratch *work, __u32 now)
{
	if (!nt_config.new_flow_limit || nt_config.tracing)
		return false;
	if (work->flood_tick != now) {
		work->flood_tick = now;
		work->flood_count = 0;
	}
	return ++work->flood_count > nt_config.new_flow_limit;
}

static __always_inline bool in_cidr4(const struct nt_cidr4 *cidr, const struct nt_addr *addr)
{
	return (cidr->mask | cidr->addr) && (bpf_ntohl(addr->w[0]) & cidr->mask) == cidr->addr;
}

static __always_inline bool in_cidr6(const struct nt_cidr6 *cidr, const struct nt_addr *addr)
{
	__u64 high = pair(addr->w[0], addr->w[1]), low = pair(addr->w[2], addr->w[3]);

	return (cidr->mask[0] | cidr->addr[0]) && (high & cidr->mask[0]) == cidr->addr[0] &&
	       (low & cidr->mask[1]) == cidr->addr[1];
}

/* Whether the cluster's pods have this address, though it comes from outside (nt_node). */
static __always_inline bool pods_contain(const struct nt_addr *addr, const bool v6)
{
	struct nt_node *node = bpf_map_lookup_elem(&nt_node, &zero);

	if (!node)
		return false;
	return v6 ? in_cidr6(&node->pods6, addr) : in_cidr4(&node->pods4, addr);
}

/*
 * How the flow gets to its backend: whether its source becomes this node's, or it is encapsulated,
 * and by which path it leaves then. 0, or the reason not to forward it; NT_PASS_TO_TC if this
 * program cannot send it on.
 */
static __always_inline int masquerade(void *ctx, const struct packet *pkt,
				      const struct frontend *frontend, const enum nt_scope scope,
				      struct scratch *work, struct decision *decision,
				      const __u32 program, const bool v6)
{
	/* A matter of the way back, whatever the scope. */
	const bool external = scope_of(program) == NT_SCOPE_EXTERNAL;
	__u32 flag = scope == NT_SCOPE_EXTERNAL ? NT_FRONTEND_MASQUERADE_EXTERNAL
						: NT_FRONTEND_MASQUERADE_INTERNAL;
	bool hairpin = same_address(decision->to.dst.w, pkt->tuple.src.w, v6);
	bool wanted = frontend->flags & flag || hairpin;
	bool direct = external && frontend->flags & NT_FRONTEND_DSR;
	struct nt_trace *record = trace();
	int routed = ROUTED_LOCAL;

	if (pkt->backend) {
		decision->facts.flags |= NT_FLOW_DSR_REPLY;
		return 0;
	}
	if (wanted || (external && !decision->local)) {
		routed = route_to(ctx, &work->route, &decision->to, program, v6);
		if (routed == ROUTED_LOCAL || work->route.device & NT_DEVICE_WORKLOAD)
			decision->local = true;
	}
	if (record && decision->local)
		record->flags |= NT_TRACE_LOCAL;
	if (record && hairpin)
		record->flags |= NT_TRACE_HAIRPIN;
	/* The node's own address needs no masquerading: its answers come from here. */
	if (routed == ROUTED_LOCAL || (!wanted && decision->local))
		return 0;
	if (routed != ROUTED)
		return NT_DROP_NO_ROUTE;
	if (!path_usable(&work->route.path, pkt, program))
		return NT_PASS_TO_TC;
	decision->facts.path = work->route.path;
	if (direct && !decision->local) {
		decision->facts.flags |= NT_FLOW_DSR;
		return 0;
	}
	if (record)
		record->flags |= NT_TRACE_MASQUERADE;
	decision->facts.flags |= NT_FLOW_MASQUERADED;
	copy_address(decision->to.src.w, work->route.source, v6);
	return 0;
}

/* Chooses a backend: 0, or the reason to drop the packet. Changes the client's affinity alone. */
static __always_inline int choose(const struct packet *pkt, const struct frontend *frontend,
				  struct decision *decision, const bool v6)
{
	nt_backend_id id = pkt->backend;
	struct nt_backend *backend =
	    id ? bpf_map_lookup_elem(&nt_backends, &id)
	       : select_backend(frontend, &pkt->tuple.src, tuple_hash(&pkt->tuple, v6),
				pkt->tuple.protocol, &id, v6);

	if (!backend)
		return NT_DROP_BAD_SLOT;
	decision->facts.backend = id;
	decision->to = pkt->tuple;
	copy_address(decision->to.dst.w, backend->addr.w, v6);
	decision->to.dport = backend->port;
	decision->local = backend->flags & NT_BACKEND_LOCAL;
	return 0;
}

/* Stores the flow's entries, unless there are too many; 0, or the reason to drop the packet. */
static __always_inline int track(const struct packet *pkt, struct decision *decision, const bool v6)
{
	struct flow_facts *facts = &decision->facts;
	struct scratch *work = scratch();
	int err;

	if (!work)
		return NT_DROP_FLOW_TABLE;
	if ((pkt->tcp & (TCP_SYN | TCP_ACK)) == TCP_SYN)
		facts->flags |= NT_FLOW_SYN;
	else if (pkt->tuple.protocol == IPPROTO_TCP)
		/* Evicted here or begun on another node: the slot says the same backend as it did
		 * then. */
		facts->flags |= NT_FLOW_REPLIED;
	if (pkt->tcp & TCP_FIN)
		facts->flags |= NT_FLOW_FIN_FORWARD;
	if (pkt->tcp & TCP_RST)
		facts->flags |= NT_FLOW_RST;
	if (flooded(work, facts->created)) {
		if (facts->flags & NT_FLOW_MASQUERADED)
			return NT_DROP_FLOOD;
		decision->untracked = true;
		return 0;
	}
	/* The reply path first: a reply must never find the forward path alone. */
	err = facts->flags & NT_FLOW_DSR
		  ? 0
		  : store_reverse(work, pkt, &decision->to, facts, facts->created, v6);
	if (!err)
		err = store_forward(work, pkt, &decision->to, facts, facts->created, v6);
	return err;
}

/* Global functions: each has the stack, and the verifier's patience, for itself. */
__noinline int choose4(struct packet *pkt, struct frontend *frontend, struct decision *decision)
{
	return pkt && frontend && decision ? choose(pkt, frontend, decision, false)
					   : NT_DROP_BAD_SLOT;
}

__noinline int choose6(struct packet *pkt, struct frontend *frontend, struct decision *decision)
{
	return pkt && frontend && decision ? choose(pkt, frontend, decision, true)
					   : NT_DROP_BAD_SLOT;
}

__noinline int track4(struct packet *pkt, struct decision *decision)
{
	return pkt && decision ? track(pkt, decision, false) : NT_DROP_FLOW_TABLE;
}

__noinline int track6(struct packet *pkt, struct decision *decision)
{
	return pkt && decision ? track(pkt, decision, true) : NT_DROP_FLOW_TABLE;
}

/* Global functions again: each has the stack for itself. */
#define ENCAPSULATE(suffix, context, program, v6)                                                 \
	__noinline int encapsulate##suffix(struct context *ctx, struct packet *pkt,               \
					   struct nt_path *path, struct tuple *to, __u32 service) \
	{                                                                                         \
		struct scratch *work = scratch();                                                 \
                                                                                                  \
		return work && pkt && path && to                                                  \
			   ? send_encapsulated(ctx, pkt, work, path, to, service, program, v6)    \
			   : packet_drop(program);                                                \
	}

ENCAPSULATE(4_xdp, xdp_md, NT_PROGRAM_EXTERNAL_XDP, false)
ENCAPSULATE(6_xdp, xdp_md, NT_PROGRAM_EXTERNAL_XDP, true)
ENCAPSULATE(4_skb, __sk_buff, NT_PROGRAM_EXTERNAL_INGRESS, false)
ENCAPSULATE(6_skb, __sk_buff, NT_PROGRAM_EXTERNAL_INGRESS, true)

/* Only from outside: flows of workloads are never encapsulated. */
static __always_inline int encapsulate(void *ctx, struct packet *pkt, struct nt_path *path,
				       struct tuple *to, nt_service_id service, const __u32 program,
				       const bool v6)
{
	if (is_xdp(program))
		return v6 ? encapsulate6_xdp(ctx, pkt, path, to, service)
			  : encapsulate4_xdp(ctx, pkt, path, to, service);
	return v6 ? encapsulate6_skb(ctx, pkt, path, to, service)
		  : encapsulate4_skb(ctx, pkt, path, to, service);
}

/* Notes for a trace which frontend was found, and what it says of a scope. */
static __always_inline void trace_frontend(const struct frontend *frontend,
					   const enum nt_scope scope)
{
	struct nt_trace *record = trace();

	if (!record)
		return;
	record->flags |= NT_TRACE_FRONTEND;
	record->service = frontend->service;
	record->set = frontend->set;
	record->scope = scope;
	record->refusal = frontend->refusal;
	record->frontend_flags = frontend->flags;
}

/* The first packet of a flow to `work->frontend`; or of another, when the one it had could no
 * longer be used. */
static __always_inline int new_flow(void *ctx, struct packet *pkt, bool reselected,
				    const __u32 program, const bool v6)
{
	struct scratch *work = scratch();
	enum nt_scope scope = scope_of(program);
	struct frontend *frontend;
	struct decision *decision;
	struct nt_trace *record;
	int err, verdict;

	if (!work)
		return packet_drop(program);
	frontend = &work->frontend;
	/* What came encapsulated has its backend. */
	if (scope == NT_SCOPE_EXTERNAL && !pkt->backend && pods_contain(&pkt->tuple.src, v6)) {
		scope = NT_SCOPE_INTERNAL;
		if (frontend_find(&pkt->tuple, scope, work, program, v6) != FOUND)
			return drop(&pkt->tuple, NT_DROP_RACE, 0, program, v6);
		trace_frontend(frontend, scope);
	}
	if (frontend->flags & NT_FRONTEND_RETIRED) {
		count(program, NT_PASS_RETIRED);
		return packet_pass(program);
	}
	if (frontend->flags & NT_FRONTEND_SOURCE_RANGES &&
	    !source_allowed(frontend->service, pkt->tuple.src.w, v6))
		return drop(&pkt->tuple, NT_DROP_SOURCE_RANGE, frontend->service, program, v6);
	if (!frontend->set) {
		if (frontend->refusal == NT_REFUSAL_NO_LOCAL_ENDPOINTS)
			return drop(&pkt->tuple, NT_DROP_NO_LOCAL_ENDPOINTS, frontend->service,
				    program, v6);
		return refuse(ctx, pkt, NT_DROP_NO_ENDPOINTS, frontend->service, program, v6);
	}
	decision = &work->decision;
	__builtin_memset(decision, 0, sizeof(*decision));
	decision->facts.service = frontend->service;
	decision->facts.created = tick();
	err = v6 ? choose6(pkt, frontend, decision) : choose4(pkt, frontend, decision);
	if (!err)
		err = masquerade(ctx, pkt, frontend, scope, work, decision, program, v6);
	if (err == NT_PASS_TO_TC) {
		count(program, NT_PASS_TO_TC);
		return packet_pass(program);
	}
	if (!err && decision->facts.flags & FLOW_SENT_ON &&
	    !may_send(ctx, pkt, &decision->facts.path,
		      decision->facts.flags & NT_FLOW_DSR ? outer_length(v6) : 0, frontend->service,
		      &verdict, program, v6))
		return verdict;
	if (!err)
		err = v6 ? track6(pkt, decision) : track4(pkt, decision);
	if (!err && !(decision->facts.flags & NT_FLOW_DSR) &&
	    rewrite_cold(ctx, pkt, &decision->to, program, v6))
		err = NT_DROP_REWRITE;
	if (err)
		return drop(&pkt->tuple, err, frontend->service, program, v6);
	record = trace();
	if (record) {
		record->backend = decision->facts.backend;
		record->flow_flags = decision->facts.flags;
	}
	trace_rewrite(&decision->to);
	fragment_note(pkt);
	/* Unless it leads to its slot's backend, as plain flows of its tuple did. */
	if (decision->facts.flags & FLOW_SPECIAL || frontend->affinity)
		unmark_flow(&pkt->tuple, v6);
	if (pkt->tuple.protocol == IPPROTO_TCP && !(decision->facts.flags & NT_FLOW_SYN)) {
		count(program, NT_FLOW_PICKED_UP);
		report(&pkt->tuple, NT_EVENT_FALLBACK, NT_FLOW_PICKED_UP, frontend->service,
		       decision->facts.backend, program, v6);
	}
	if (reselected)
		count(program, NT_FLOW_RESELECTED);
	if (decision->facts.flags & NT_FLOW_REMAPPED)
		count(program, NT_FLOW_PORT_REMAPPED);
	if (decision->untracked)
		count(program, NT_FLOW_UNTRACKED);
	count(program, NT_FORWARD_NEW);
	count_new_flow(frontend->service);
	if (!(decision->facts.flags & NT_FLOW_DSR))
		count_translated(frontend->service, NT_FORWARD, pkt->length);
	report(&pkt->tuple, NT_EVENT_NEW_FLOW, NT_FORWARD_NEW, frontend->service,
	       decision->facts.backend, program, v6);
	if (decision->facts.flags & NT_FLOW_DSR)
		return encapsulate(ctx, pkt, &decision->facts.path, &decision->to,
				   frontend->service, program, v6);
	return decision->facts.flags & NT_FLOW_MASQUERADED
		   ? send_on(ctx, pkt, &decision->facts.path, program, v6)
		   : packet_pass(program);
}

/* Whether an existing flow decides this packet, or a backend is to be chosen anew. */
static __always_inline bool flow_usable(const struct packet *pkt, const struct flow_facts *facts,
					const struct frontend *frontend)
{
	struct nt_backend *backend;

	if (pkt->tuple.protocol == IPPROTO_TCP) {
		if ((pkt->tcp & (TCP_SYN | TCP_ACK)) != TCP_SYN)
			return true;
		/* A SYN: a retransmission, or the tuple's reuse for a new connection. */
		if (facts->flags & (NT_FLOW_FIN_FORWARD | NT_FLOW_FIN_REVERSE | NT_FLOW_RST))
			return false;
		backend = bpf_map_lookup_elem(&nt_backends, &facts->backend);
		if (!backend)
			return false;
		/* A late duplicate must not tear an established connection from its backend. */
		return backend->state == NT_BACKEND_ACTIVE ||
		       (backend->state == NT_BACKEND_TERMINATING && facts->flags & NT_FLOW_REPLIED);
	}
	/* UDP has no end of its own; its backend's is one, and its Service's (service
	 * semantics 2.9). */
	if (frontend->flags & NT_FRONTEND_RETIRED || facts->service != frontend->service)
		return false;
	backend = bpf_map_lookup_elem(&nt_backends, &facts->backend);
	return backend &&
	       (backend->state == NT_BACKEND_ACTIVE || backend->state == NT_BACKEND_TERMINATING);
}

/*
 * A connection straight to a backend whose tuple is that of a closed flow through a frontend:
 * without this its replies would be translated back to the frontend for as long as the old entry
 * lasts.
 */
static __always_inline void clear_stale_reverse(const struct packet *pkt, struct found *found,
						const __u32 program, const bool v6)
{
	struct nt_flow *flow;

	if ((pkt->tcp & (TCP_SYN | TCP_ACK)) != TCP_SYN)
		return;
	reverse_tuple(&found->to, &pkt->tuple);
	flow_key(&found->key, &found->to, NT_REVERSE, v6);
	flow = flow_find(&found->key, v6);
	if (flow && flow_closed(flow->flags)) {
		flow_remove(&found->key, v6);
		count(program, NT_FLOW_STALE_CLEARED);
	}
}

/* The replies of a backend that a flow leaves are no longer its own, unless another flow has them
 * now. */
static __always_inline void remove_reverse(const struct packet *pkt, const struct tuple *to,
					   struct scratch *work, const bool v6)
{
	struct nt_flow *flow;

	reverse_tuple(&work->wire, to);
	reverse_tuple(&work->to, &pkt->tuple);
	flow_key(&work->key, &work->wire, NT_REVERSE, v6);
	flow = flow_find(&work->key, v6);
	if (flow && flow_leads_to(flow, &work->to, v6))
		flow_remove(&work->key, v6);
}

/*
 * Whether replies to this flow are another one's by now: the LRU has evicted its reply entry, and
 * the other was given the tuple. Going on, both would be one connection to the backend. Looked for
 * when the flow is touched, once a tick.
 */
static __always_inline bool reply_taken(const struct nt_flow *flow, const struct packet *pkt,
					const struct found *found, struct scratch *work,
					const bool v6)
{
	struct flow_facts ignored;
	struct nt_flow *peer;

	/* Without a backend it is an entry that changes nothing, see pass_answer. */
	if (flow->seen == tick() || found->facts.flags & NT_FLOW_DSR || !found->facts.backend)
		return false;
	reverse_tuple(&work->wire, &found->to);
	reverse_tuple(&work->to, &pkt->tuple);
	flow_key(&work->key, &work->wire, NT_REVERSE, v6);
	peer = flow_find(&work->key, v6);
	return peer && !flow_leads_to(peer, &work->to, v6) &&
	       flow_read(peer, &work->wire, NT_REVERSE, &work->other_to, &ignored, v6);
}

/*
 * A packet of an established flow that is sent on, either way: its path first, then what may keep
 * it from being sent, and only then is anything changed.
 */
static __always_inline int established_sent_on(void *ctx, struct packet *pkt, struct nt_flow *flow,
					       struct tuple *to, struct flow_facts *facts,
					       const __u8 direction, const __u32 program,
					       const bool v6)
{
	const bool direct = direction == NT_FORWARD && facts->flags & NT_FLOW_DSR;
	int verdict;

	if (flow_path(ctx, flow, to, facts, program, v6) != ROUTED)
		return drop(&pkt->tuple, NT_DROP_NO_ROUTE, facts->service, program, v6);
	if (!path_usable(&facts->path, pkt, program)) {
		count(program, NT_PASS_TO_TC);
		return packet_pass(program);
	}
	if (!may_send(ctx, pkt, &facts->path, direct ? outer_length(v6) : 0, facts->service,
		      &verdict, program, v6))
		return verdict;
	flow_touch(flow, pkt, to, facts, direction, program, v6);
	if (direct) {
		fragment_note(pkt);
		count(program, NT_FORWARD_ESTABLISHED);
		return encapsulate(ctx, pkt, &facts->path, to, facts->service, program, v6);
	}
	if (rewrite(ctx, pkt, to, program, v6))
		return drop(&pkt->tuple, NT_DROP_REWRITE, facts->service, program, v6);
	trace_rewrite(to);
	fragment_note(pkt);
	count_translated(facts->service, direction, pkt->length);
	count(program, direction == NT_FORWARD ? NT_FORWARD_ESTABLISHED : NT_REVERSE_TRANSLATED);
	return send_on(ctx, pkt, &facts->path, program, v6);
}

/* A packet of an established flow that the stack routes. */
static __always_inline int established_passed(void *ctx, const struct packet *pkt,
					      struct nt_flow *flow, const struct tuple *to,
					      const struct flow_facts *facts, const __u8 direction,
					      const __u32 program, const bool v6)
{
	flow_touch(flow, pkt, to, facts, direction, program, v6);
	if (rewrite(ctx, pkt, to, program, v6))
		return drop(&pkt->tuple, NT_DROP_REWRITE, facts->service, program, v6);
	trace_rewrite(to);
	fragment_note(pkt);
	count_translated(facts->service, direction, pkt->length);
	count(program, direction == NT_FORWARD ? NT_FORWARD_ESTABLISHED : NT_REVERSE_TRANSLATED);
	return packet_pass(program);
}

static __always_inline void trace_flow(const struct flow_facts *facts, __u32 flags)
{
	struct nt_trace *record = trace();

	if (!record)
		return;
	record->flags |= flags;
	record->flow_flags = facts->flags;
	record->backend = facts->backend;
	record->service = facts->service;
}

static __always_inline bool in_service_cidr(const struct nt_node *node, const struct nt_addr *addr,
					    const bool v6)
{
	for (__u32 i = 0; i < NT_SERVICE_CIDRS; i++) {
		if (v6 ? in_cidr6(&node->cidr6[i], addr) : in_cidr4(&node->cidr4[i], addr))
			return true;
	}
	return false;
}

/*
 * A packet to what may be this node's NAT port, or an address that only Services may have: a reply
 * of a masqueraded flow, or refused; or neither, which is LEFT_ALONE.
 */
#define LEFT_ALONE -2

static __always_inline int near_frontend(void *ctx, struct packet *pkt, const __u32 program,
					 const bool v6)
{
	struct nt_node *node = bpf_map_lookup_elem(&nt_node, &zero);
	struct scratch *work = scratch();
	struct nt_address *address;
	struct nt_flow *flow;
	int verdict;

	if (!work || !node)
		return LEFT_ALONE;
	if (is_nat_port(pkt->tuple.dport)) {
		struct found *found = &work->found;

		flow = flow_of(&pkt->tuple, NT_REVERSE, found, v6);
		if (flow && found->facts.flags & NT_FLOW_MASQUERADED) {
			if (gather_fragments(ctx, pkt, &verdict, program))
				return verdict;
			trace_flow(&found->facts, NT_TRACE_REVERSE);
			return established_sent_on(ctx, pkt, flow, &found->to, &found->facts,
						   NT_REVERSE, program, v6);
		}
	}
	if (!in_cluster_range(node, &pkt->tuple.dst, v6))
		return LEFT_ALONE;
	address = address_lookup(&pkt->tuple.dst, v6);
	if (address && address->flags & NT_ADDRESS_CLUSTER_IP)
		return refuse(ctx, pkt, NT_DROP_UNKNOWN_PORT, 0, program, v6);
	if (!address && in_service_cidr(node, &pkt->tuple.dst, v6))
		return drop(&pkt->tuple, NT_DROP_UNALLOCATED, 0, program, v6);
	return LEFT_ALONE;
}

/* An echo request: answered for an address behind which somebody is. */
static __always_inline int echo(void *ctx, const struct packet *pkt, const __u32 program,
				const bool v6)
{
	struct nt_address *address = address_lookup(&pkt->tuple.dst, v6);

	if (!address || !(address->flags & NT_ADDRESS_ENDPOINTS)) {
		count(program, NT_PASS_NOT_SERVICE);
		return packet_pass(program);
	}
	if (!can_answer(ctx, program)) {
		count(program, NT_PASS_TO_TC);
		return packet_pass(program);
	}
	return answer(ctx, pkt, ANSWER_ECHO, 0, program, v6);
}

/* Global functions, so that each is verified once, by itself, and not for each way to get there. */
#define COLD(suffix, context, program, v6)                                                       \
	__noinline int new_flow##suffix(struct context *ctx, struct packet *pkt, int reselected) \
	{                                                                                        \
		return pkt ? new_flow(ctx, pkt, reselected, program, v6) : packet_drop(program); \
	}                                                                                        \
	__noinline int near_frontend##suffix(struct context *ctx, struct packet *pkt)            \
	{                                                                                        \
		return pkt ? near_frontend(ctx, pkt, program, v6) : packet_drop(program);        \
	}                                                                                        \
	__noinline int echo##suffix(struct context *ctx, struct packet *pkt)                     \
	{                                                                                        \
		return pkt ? echo(ctx, pkt, program, v6) : packet_drop(program);                 \
	}

COLD(4_xdp, xdp_md, NT_PROGRAM_EXTERNAL_XDP, false)
COLD(6_xdp, xdp_md, NT_PROGRAM_EXTERNAL_XDP, true)
COLD(4_external, __sk_buff, NT_PROGRAM_EXTERNAL_INGRESS, false)
COLD(6_external, __sk_buff, NT_PROGRAM_EXTERNAL_INGRESS, true)
COLD(4_workload, __sk_buff, NT_PROGRAM_WORKLOAD_INGRESS, false)
COLD(6_workload, __sk_buff, NT_PROGRAM_WORKLOAD_INGRESS, true)

/* Calls the function compiled for this program and family. */
#define CALL_COLD(name, program, v6, ...)                                             \
	((program) == NT_PROGRAM_EXTERNAL_XDP                                         \
	     ? ((v6) ? name##6_xdp(__VA_ARGS__) : name##4_xdp(__VA_ARGS__))           \
	 : (program) == NT_PROGRAM_EXTERNAL_INGRESS                                   \
	     ? ((v6) ? name##6_external(__VA_ARGS__) : name##4_external(__VA_ARGS__)) \
	     : ((v6) ? name##6_workload(__VA_ARGS__) : name##4_workload(__VA_ARGS__)))

/* No frontend: most of all traffic. */
static __always_inline int not_frontend(void *ctx, struct packet *pkt, struct scratch *work,
					const __u32 program, const bool v6)
{
	struct nt_node *node = bpf_map_lookup_elem(&nt_node, &zero);

	if (is_nat_port(pkt->tuple.dport) ||
	    (node && in_cluster_range(node, &pkt->tuple.dst, v6))) {
		int verdict = CALL_COLD(near_frontend, program, v6, ctx, pkt);

		if (verdict != LEFT_ALONE)
			return verdict;
	}
	clear_stale_reverse(pkt, &work->found, program, v6);
	count(program, NT_PASS_NOT_SERVICE);
	return packet_pass(program);
}

/* Client to frontend. One lookup says "not a service" for all other traffic. */
static __always_inline int forward(void *ctx, struct packet *pkt, struct scratch *work,
				   const __u32 program, const bool v6)
{
	struct found *found = &work->found;
	struct frontend *frontend = &work->frontend;
	struct nt_flow *flow;
	bool reselected = false;
	int verdict;

	switch (frontend_find(&pkt->tuple, scope_of(program), work, program, v6)) {
	case NOT_FOUND:
		return not_frontend(ctx, pkt, work, program, v6);
	case RACED:
		return drop(&pkt->tuple, NT_DROP_RACE, 0, program, v6);
	}
	if (gather_fragments(ctx, pkt, &verdict, program))
		return verdict;
	trace_frontend(frontend, scope_of(program));
	flow = flow_of(&pkt->tuple, NT_FORWARD, found, v6);
	if (flow) {
		bool taken = reply_taken(flow, pkt, found, work, v6);

		if (!taken && flow_usable(pkt, &found->facts, frontend)) {
			trace_flow(&found->facts, NT_TRACE_FLOW);
			if (!found->facts.backend) { /* see pass_answer */
				if (!nt_config.tracing)
					flow->seen = tick();
				count(program, NT_PASS_NOT_SERVICE);
				return packet_pass(program);
			}
			if (found->facts.flags & FLOW_SENT_ON)
				return established_sent_on(ctx, pkt, flow, &found->to,
							   &found->facts, NT_FORWARD, program, v6);
			mark_flow(pkt, found, frontend, v6);
			return established_passed(ctx, pkt, flow, &found->to, &found->facts,
						  NT_FORWARD, program, v6);
		}
		trace_flow(&found->facts, NT_TRACE_FLOW_UNUSABLE);
		if (taken)
			count(program, NT_FLOW_REPLY_TAKEN);
		remove_reverse(pkt, &found->to, work, v6);
		flow_remove(&found->key, v6);
		reselected = true;
	}
	if ((pkt->tcp & (TCP_SYN | TCP_ACK)) == (TCP_SYN | TCP_ACK))
		return pass_answer(pkt, program, v6);
	return CALL_COLD(new_flow, program, v6, ctx, pkt, reselected);
}

/* Backend to client: needs the flow alone, so a reply outlives its Service. */
static __always_inline int reverse(void *ctx, struct packet *pkt, struct found *found,
				   const __u32 program, const bool v6)
{
	struct nt_flow *flow;

	flow = flow_of(&pkt->tuple, NT_REVERSE, found, v6);
	if (!flow || found->facts.flags & NT_FLOW_MASQUERADED) {
		count(program, NT_PASS_NOT_SERVICE);
		return packet_pass(program);
	}
	trace_flow(&found->facts, NT_TRACE_REVERSE);
	if (found->facts.flags & NT_FLOW_DSR_REPLY &&
	    (pkt->tcp & (TCP_SYN | TCP_ACK)) == (TCP_SYN | TCP_ACK)) {
		if (v6)
			clamp_mss6(ctx, pkt);
		else
			clamp_mss4(ctx, pkt);
	}
	return established_passed(ctx, pkt, flow, &found->to, &found->facts, NT_REVERSE, program,
				  v6);
}

static __always_inline int handle_family(void *ctx, struct scratch *work, const __u32 program,
					 const enum nt_direction direction, const bool v6)
{
	struct packet *pkt = &work->pkt;

	if (pkt->kind == PACKET_ICMP_ERROR)
		return handle_icmp_error(ctx, pkt, program, v6);
	if (pkt->kind == PACKET_ECHO && direction == NT_FORWARD)
		return CALL_COLD(echo, program, v6, ctx, pkt);
	if (pkt->kind != PACKET_TRANSPORT) {
		count(program, NT_PASS_OTHER_PROTOCOL);
		return packet_pass(program);
	}
	return direction == NT_FORWARD ? forward(ctx, pkt, work, program, v6)
				       : reverse(ctx, pkt, &work->found, program, v6);
}

#define DECAPSULATE(suffix, context, program, v6)                                   \
	__noinline int decapsulate##suffix(struct context *ctx, struct packet *pkt) \
	{                                                                           \
		return pkt ? decapsulate(ctx, pkt, program, v6) : NOT_OURS;         \
	}

DECAPSULATE(4_xdp, xdp_md, NT_PROGRAM_EXTERNAL_XDP, false)
DECAPSULATE(6_xdp, xdp_md, NT_PROGRAM_EXTERNAL_XDP, true)
DECAPSULATE(4_skb, __sk_buff, NT_PROGRAM_EXTERNAL_INGRESS, false)
DECAPSULATE(6_skb, __sk_buff, NT_PROGRAM_EXTERNAL_INGRESS, true)

/* What is inside an encapsulated packet that is meant for a backend here is handled in its place.
 */
static __always_inline int parse_inner(void *ctx, struct scratch *work, const __u32 program)
{
	struct packet *pkt = &work->pkt;
	int answer;

	if (is_xdp(program))
		answer = pkt->v6 ? decapsulate6_xdp(ctx, pkt) : decapsulate4_xdp(ctx, pkt);
	else
		answer = pkt->v6 ? decapsulate6_skb(ctx, pkt) : decapsulate4_skb(ctx, pkt);
	if (answer != DECAPSULATED)
		return NT_PASS_OTHER_PROTOCOL;
	answer = parse(ctx, pkt, program);
	return answer == PARSED && pkt->kind != PACKET_TRANSPORT ? NT_PASS_OTHER_PROTOCOL : answer;
}

static __always_inline int handle(void *ctx, const __u32 program, const enum nt_direction direction)
{
	int answer = take_shortcut(ctx, program);
	struct scratch *work;

	if (answer != NO_SHORTCUT)
		return answer;
	work = scratch();
	if (!work)
		return packet_drop(program);
	__builtin_memset(&work->pkt, 0, sizeof(work->pkt));
	answer = parse(ctx, &work->pkt, program);
	if (answer == PARSED && work->pkt.kind == PACKET_TUNNEL &&
	    scope_of(program) == NT_SCOPE_EXTERNAL && direction == NT_FORWARD)
		answer = parse_inner(ctx, work, program);
	if (answer == PARSED && work->pkt.fragment != FRAGMENT_NONE)
		answer = complete_fragment(ctx, &work->pkt, program, direction);
	if (answer != PARSED) {
		if ((__u32)answer < NT_COUNTER_COUNT)
			count(program, answer);
		return packet_pass(program);
	}
	return work->pkt.v6 ? handle_family(ctx, work, program, direction, true)
			    : handle_family(ctx, work, program, direction, false);
}

#endif
