/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Load balancing: what happens to a packet at a client's ingress (forward) and egress (reverse). */
#ifndef NT_LB_H
#define NT_LB_H

#include "flow.h"

/* Source ports tried when two flows of a client would have the same reply tuple. */
#define REMAP_TRIES 16

static __always_inline enum nt_scope scope_of(const __u32 program)
{
	return program == NT_PROGRAM_WORKLOAD_INGRESS ? NT_SCOPE_INTERNAL : NT_SCOPE_EXTERNAL;
}

/* What a program needs of a frontend, copied out of the element. */
struct frontend {
	nt_service_id service;
	nt_set_id set;
	__u32 flags;
	__u8 refusal;
};

static __always_inline struct nt_frontend *frontend_lookup(const struct tuple *t, const bool v6)
{
	if (v6) {
		struct nt_frontend_key6 key = {.port = t->dport, .protocol = t->protocol};

		copy_address(key.addr, t->dst.w, true);
		return bpf_map_lookup_elem(&nt_frontends6, &key);
	} else {
		struct nt_frontend_key4 key = {
		    .addr = {t->dst.w[0]}, .port = t->dport, .protocol = t->protocol};

		return bpf_map_lookup_elem(&nt_frontends4, &key);
	}
}

#define FOUND	  1
#define NOT_FOUND 0
#define RACED	  -1

static __always_inline int frontend_read(const struct tuple *t, const enum nt_scope scope,
					 struct frontend *out, const bool v6)
{
	struct nt_frontend *found = frontend_lookup(t, v6);

	if (!found)
		return NOT_FOUND;
	out->service = found->service;
	out->set = found->set[scope];
	out->flags = found->flags;
	out->refusal = found->refusal[scope];
	barrier();
	/* The writer copies the key first, so a key that still fits vouches for what was read
	 * before. */
	if (*(volatile nt_port *)&found->port != t->dport || found->protocol != t->protocol ||
	    !same_address(found->addr.w, t->dst.w, v6))
		return RACED;
	return FOUND;
}

static __always_inline int frontend_find(const struct tuple *t, struct frontend *out,
					 const __u32 program, const bool v6)
{
	const enum nt_scope scope = scope_of(program);
	int answer = frontend_read(t, scope, out, v6);

	if (answer != RACED)
		return answer;
	count(program, NT_RACE_RETRIED);
	return frontend_read(t, scope, out, v6);
}

/* The backend of a new flow, by its Maglev slot; NULL if the maps contradict themselves. */
static __always_inline struct nt_backend *select_backend(const struct tuple *t, nt_set_id set_id,
							 nt_backend_id *id, const bool v6)
{
	struct nt_set *set = bpf_map_lookup_elem(&nt_sets, &set_id);
	struct nt_slot_line *line;
	struct nt_backend *backend;
	__u32 slot, index;

	/* Slot 0 of a freed set would be another set's. */
	if (!set || !set->slots)
		return NULL;
	/* Multiply-shift: an even map of the hash to 0 ..< slots without a division. */
	slot = (__u64)tuple_hash(t, v6) * set->slots >> 32;
	index = set->line + slot / NT_SLOTS_PER_LINE;
	line = bpf_map_lookup_elem(&nt_slots, &index);
	if (!line)
		return NULL;
	*id = line->slot[slot % NT_SLOTS_PER_LINE];
	backend = bpf_map_lookup_elem(&nt_backends, id);
	if (!backend || backend->state == NT_BACKEND_FREE || backend->protocol != t->protocol ||
	    backend->family != (v6 ? 6 : 4))
		return NULL;
	return backend;
}

#define STORED 0
#define TAKEN  1 /* by another flow that lives */
#define FAILED 2

/* Whether another flow's entry in the way of the one in `work` may be overwritten. */
static __always_inline bool replaceable(const struct nt_flow *other, const struct scratch *work)
{
	/* Signed: the other flow may have been seen in a later tick than ours was begun. */
	return flow_closed(other->flags) ||
	       (work->wire.protocol == IPPROTO_UDP &&
		(__s32)(work->value.head.seen - other->seen) > (__s32)nt_config.udp_idle);
}

/*
 * Ends the flow whose reply tuple is about to be taken over: its next request would be answered in
 * the name of the frontend that took it.
 */
static __always_inline void remove_forward(struct scratch *work, const struct nt_flow *reverse,
					   const bool v6)
{
	struct flow_facts ignored;
	struct nt_flow *flow;

	if (!flow_read(reverse, &work->wire, NT_REVERSE, &work->other_to, &ignored, v6))
		return;
	reverse_tuple(&work->other_wire, &work->other_to);
	reverse_tuple(&work->other_to, &work->wire);
	flow_key(&work->other_key, &work->other_wire, NT_FORWARD, v6);
	flow = flow_find(&work->other_key, v6);
	if (flow && flow_leads_to(flow, &work->other_to, v6))
		flow_remove(&work->other_key, v6);
}

static __always_inline int try_reverse(struct scratch *work, const bool v6)
{
	struct nt_flow *other;
	long err;

	flow_key(&work->key, &work->wire, NT_REVERSE, v6);
	work->value.head.check = flow_check(&work->wire, NT_REVERSE, v6);
	err = flow_store(&work->key, &work->value, BPF_NOEXIST, v6);
	if (!err)
		return STORED;
	if (err != -EEXIST)
		return FAILED;
	other = flow_find(&work->key, v6);
	if (other && !flow_leads_to(other, &work->to, v6)) {
		if (!replaceable(other, work))
			return TAKEN;
		remove_forward(work, other, v6);
	}
	return flow_store(&work->key, &work->value, BPF_ANY, v6) ? FAILED : STORED;
}

static __always_inline long try_port(__u32 attempt, const bool v6)
{
	const __u32 span = nt_config.remap_port_last - nt_config.remap_port_first + 1;
	struct scratch *work = scratch();

	if (!work)
		return 1;
	work->wire.dport = bpf_htons(nt_config.remap_port_first + (work->start + attempt) % span);
	work->answer = try_reverse(work, v6);
	return work->answer != TAKEN;
}

static long try_port4(__u32 attempt, void *unused)
{
	return try_port(attempt, false);
}

static long try_port6(__u32 attempt, void *unused)
{
	return try_port(attempt, true);
}

/*
 * Stores the reply direction of a new flow. When the reply tuple is another live flow's (one client
 * port, two frontends, one backend), the client's port is changed until it is free, as conntrack
 * does.
 */
static __always_inline int store_reverse(struct scratch *work, const struct packet *pkt,
					 struct tuple *to, struct flow_facts *facts, __u32 now,
					 const __u32 program, const bool v6)
{
	reverse_tuple(&work->to, &pkt->tuple);
	reverse_tuple(&work->wire, to);
	flow_value(&work->value, &work->wire, &work->to, NT_REVERSE, facts, now, v6);
	work->answer = try_reverse(work, v6);
	if (work->answer == TAKEN) {
		work->start = tuple_hash(&pkt->tuple, v6);
		work->value.head.flags |= NT_FLOW_REMAPPED;
		/* By bpf_loop, whose body the verifier walks once. */
		bpf_loop(REMAP_TRIES, v6 ? try_port6 : try_port4, NULL, 0);
		if (work->answer == STORED) {
			facts->flags |= NT_FLOW_REMAPPED;
			to->sport = work->wire.dport;
			count(program, NT_FLOW_PORT_REMAPPED);
		}
	}
	if (work->answer == STORED)
		return 0;
	return work->answer == TAKEN ? NT_DROP_PORT_CLASH : NT_DROP_FLOW_TABLE;
}

/* Stores the client's direction. Of two packets that race to begin a flow, the first decides. */
static __always_inline int store_forward(struct scratch *work, const struct packet *pkt,
					 struct tuple *to, const struct flow_facts *facts,
					 __u32 now, const bool v6)
{
	struct nt_flow *winner;
	long err;

	flow_key(&work->key, &pkt->tuple, NT_FORWARD, v6);
	flow_value(&work->value, &pkt->tuple, to, NT_FORWARD, facts, now, v6);
	err = flow_store(&work->key, &work->value, BPF_NOEXIST, v6);
	if (!err)
		return 0;
	if (err == -EEXIST) {
		struct flow_facts ignored;

		winner = flow_find(&work->key, v6);
		if (!winner || !flow_read(winner, &pkt->tuple, NT_FORWARD, &work->to, &ignored, v6))
			return flow_store(&work->key, &work->value, BPF_ANY, v6)
				   ? NT_DROP_FLOW_TABLE
				   : 0;
		if (flow_leads_to(winner, to, v6))
			return 0;
	}
	/* Our reply entry leads nowhere now. */
	reverse_tuple(&work->wire, to);
	flow_key(&work->key, &work->wire, NT_REVERSE, v6);
	flow_remove(&work->key, v6);
	if (err != -EEXIST)
		return NT_DROP_FLOW_TABLE;
	*to = work->to;
	return 0;
}

static __always_inline int refuse(const struct frontend *frontend, const __u32 program)
{
	switch (frontend->refusal) {
	case NT_REFUSAL_NO_LOCAL_ENDPOINTS:
		count(program, NT_DROP_NO_LOCAL_ENDPOINTS);
		break;
	case NT_REFUSAL_NO_LOCAL_BACKEND:
		count(program, NT_DROP_NO_LOCAL_BACKEND);
		break;
	default:
		count(program, NT_DROP_NO_ENDPOINTS);
	}
	return packet_drop(program);
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
	count(program, NT_PASS_NOT_SERVICE);
	return packet_pass(program);
}

/* The first packet of a flow; or of another, when the one it had could no longer be used. */
static __always_inline int forward_new(void *ctx, const struct packet *pkt,
				       const struct frontend *frontend, bool reselected,
				       const __u32 program, const bool v6)
{
	struct flow_facts facts = {.service = frontend->service};
	struct scratch *work = scratch();
	struct nt_backend *backend;
	__u32 now = tick();
	struct tuple to;
	int err;

	if (frontend->flags & NT_FRONTEND_RETIRED) {
		count(program, NT_PASS_RETIRED);
		return packet_pass(program);
	}
	if (!frontend->set)
		return refuse(frontend, program);
	if (!work)
		return packet_drop(program);
	backend = select_backend(&pkt->tuple, frontend->set, &facts.backend, v6);
	if (!backend) {
		count(program, NT_DROP_BAD_SLOT);
		return packet_drop(program);
	}
	to = pkt->tuple;
	copy_address(to.dst.w, backend->addr.w, v6);
	to.dport = backend->port;

	facts.created = now;
	if ((pkt->tcp & (TCP_SYN | TCP_ACK)) == TCP_SYN) {
		facts.flags = NT_FLOW_SYN;
	} else if (pkt->tuple.protocol == IPPROTO_TCP) {
		/* Evicted here or begun on another node: the slot says the same backend as it did
		 * then. */
		facts.flags = NT_FLOW_REPLIED;
		count(program, NT_FLOW_PICKED_UP);
	}
	if (pkt->tcp & TCP_FIN)
		facts.flags |= NT_FLOW_FIN_FORWARD;
	if (pkt->tcp & TCP_RST)
		facts.flags |= NT_FLOW_RST;

	/* The reply path first: a reply must never find the forward path alone. */
	err = store_reverse(work, pkt, &to, &facts, now, program, v6);
	if (!err)
		err = store_forward(work, pkt, &to, &facts, now, v6);
	if (!err && rewrite(ctx, pkt, &to, program, v6))
		err = NT_DROP_REWRITE;
	if (err) {
		count(program, err);
		return packet_drop(program);
	}
	if (reselected)
		count(program, NT_FLOW_RESELECTED);
	count(program, NT_FORWARD_NEW);
	return packet_pass(program);
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
static __always_inline void clear_stale_reverse(const struct packet *pkt, const __u32 program,
						const bool v6)
{
	union flow_key key;
	struct nt_flow *flow;
	struct tuple reply;

	if ((pkt->tcp & (TCP_SYN | TCP_ACK)) != TCP_SYN)
		return;
	reverse_tuple(&reply, &pkt->tuple);
	flow_key(&key, &reply, NT_REVERSE, v6);
	flow = flow_find(&key, v6);
	if (flow && flow_closed(flow->flags)) {
		flow_remove(&key, v6);
		count(program, NT_FLOW_STALE_CLEARED);
	}
}

/* The replies of a backend that a flow leaves are no longer its own, unless another flow has them
 * now. */
static __always_inline void remove_reverse(const struct packet *pkt, const struct tuple *to,
					   const bool v6)
{
	struct tuple wire, back;
	union flow_key key;
	struct nt_flow *flow;

	reverse_tuple(&wire, to);
	reverse_tuple(&back, &pkt->tuple);
	flow_key(&key, &wire, NT_REVERSE, v6);
	flow = flow_find(&key, v6);
	if (flow && flow_leads_to(flow, &back, v6))
		flow_remove(&key, v6);
}

/* Client to frontend. One lookup says "not a service" for all other traffic. */
static __always_inline int forward(void *ctx, const struct packet *pkt, const __u32 program,
				   const bool v6)
{
	struct frontend frontend;
	struct flow_facts facts;
	union flow_key key;
	struct nt_flow *flow;
	struct tuple to;
	bool reselected = false;

	switch (frontend_find(&pkt->tuple, &frontend, program, v6)) {
	case NOT_FOUND:
		clear_stale_reverse(pkt, program, v6);
		count(program, NT_PASS_NOT_SERVICE);
		return packet_pass(program);
	case RACED:
		count(program, NT_DROP_RACE);
		return packet_drop(program);
	}
	flow_key(&key, &pkt->tuple, NT_FORWARD, v6);
	flow = flow_find(&key, v6);
	if (flow && flow_read(flow, &pkt->tuple, NT_FORWARD, &to, &facts, v6)) {
		if (flow_usable(pkt, &facts, &frontend)) {
			if (!facts.backend) { /* see pass_answer */
				flow->seen = tick();
				count(program, NT_PASS_NOT_SERVICE);
				return packet_pass(program);
			}
			flow_touch(flow, pkt, &to, &facts, NT_FORWARD, program, v6);
			if (rewrite(ctx, pkt, &to, program, v6)) {
				count(program, NT_DROP_REWRITE);
				return packet_drop(program);
			}
			count(program, NT_FORWARD_ESTABLISHED);
			return packet_pass(program);
		}
		remove_reverse(pkt, &to, v6);
		flow_remove(&key, v6);
		reselected = true;
	}
	if ((pkt->tcp & (TCP_SYN | TCP_ACK)) == (TCP_SYN | TCP_ACK))
		return pass_answer(pkt, program, v6);
	return forward_new(ctx, pkt, &frontend, reselected, program, v6);
}

/* Backend to client: needs the flow alone, so a reply outlives its Service. */
static __always_inline int reverse(void *ctx, const struct packet *pkt, const __u32 program,
				   const bool v6)
{
	struct flow_facts facts;
	union flow_key key;
	struct nt_flow *flow;
	struct tuple to;

	flow_key(&key, &pkt->tuple, NT_REVERSE, v6);
	flow = flow_find(&key, v6);
	if (!flow || !flow_read(flow, &pkt->tuple, NT_REVERSE, &to, &facts, v6)) {
		count(program, NT_PASS_NOT_SERVICE);
		return packet_pass(program);
	}
	flow_touch(flow, pkt, &to, &facts, NT_REVERSE, program, v6);
	if (rewrite(ctx, pkt, &to, program, v6)) {
		count(program, NT_DROP_REWRITE);
		return packet_drop(program);
	}
	count(program, NT_REVERSE_TRANSLATED);
	return packet_pass(program);
}

static __always_inline int handle(void *ctx, const __u32 program, const enum nt_direction direction)
{
	struct packet pkt = {};
	int answer = parse(ctx, &pkt, program);

	if (answer != PARSED) {
		if ((__u32)answer < NT_COUNTER_COUNT)
			count(program, answer);
		return packet_pass(program);
	}
	if (direction == NT_FORWARD)
		return pkt.v6 ? forward(ctx, &pkt, program, true)
			      : forward(ctx, &pkt, program, false);
	return pkt.v6 ? reverse(ctx, &pkt, program, true) : reverse(ctx, &pkt, program, false);
}

#endif
