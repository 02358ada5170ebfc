/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Puts a new flow's two entries into the table, with a reply tuple that is no other flow's. */
#ifndef NT_STORE_H
#define NT_STORE_H

#include "flow.h"

/* Source ports tried for a masqueraded flow, or when two flows would have the same reply tuple. */
#define NAT_PORT_TRIES 64

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
	const __u32 span = nt_config.nat_port_last - nt_config.nat_port_first + 1;
	struct scratch *work = scratch();

	if (!work)
		return 1;
	work->wire.dport = bpf_htons(nt_config.nat_port_first + (work->start + attempt) % span);
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
 * Stores the reply direction of a new flow. A masqueraded flow gets a source port of this node's;
 * so does one whose reply tuple is another live flow's (one client port, two frontends, one
 * backend), as conntrack does it.
 */
static __always_inline int store_reverse(struct scratch *work, const struct packet *pkt,
					 struct tuple *to, struct flow_facts *facts, __u32 now,
					 const bool v6)
{
	bool masqueraded = facts->flags & NT_FLOW_MASQUERADED;

	reverse_tuple(&work->to, &pkt->tuple);
	reverse_tuple(&work->wire, to);
	flow_value(&work->value, &work->wire, &work->to, NT_REVERSE, facts, now, v6);
	work->answer = masqueraded ? TAKEN : try_reverse(work, v6);
	if (work->answer == TAKEN) {
		work->start = tuple_hash(&pkt->tuple, v6);
		if (!masqueraded)
			work->value.head.flags |= NT_FLOW_REMAPPED;
		/* By bpf_loop, whose body the verifier walks once. */
		bpf_loop(NAT_PORT_TRIES, v6 ? try_port6 : try_port4, NULL, 0);
		if (work->answer == STORED) {
			to->sport = work->wire.dport;
			if (!masqueraded)
				facts->flags |= NT_FLOW_REMAPPED;
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

	/* An entry that a trace should have removed is still there, and would be taken for that of
	 * a packet which was faster. */
	if (nt_config.tracing)
		return 0;
	flow_key(&work->key, &pkt->tuple, NT_FORWARD, v6);
	flow_value(&work->value, &pkt->tuple, to, NT_FORWARD, facts, now, v6);
	work->value.head.path = facts->path;
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
	if (!(facts->flags & NT_FLOW_DSR)) {
		reverse_tuple(&work->wire, to);
		flow_key(&work->key, &work->wire, NT_REVERSE, v6);
		flow_remove(&work->key, v6);
	}
	if (err != -EEXIST)
		return NT_DROP_FLOW_TABLE;
	*to = work->to;
	return 0;
}

#endif
