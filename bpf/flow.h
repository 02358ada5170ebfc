/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The flow table. Each flow has two entries, each holding the whole rewrite of its direction; key
 * and value of one determine the other, so whichever is still there can restore its peer.
 */
#ifndef NT_FLOW_H
#define NT_FLOW_H

#include "events.h"
#include "hash.h"
#include "rewrite.h"

#define EEXIST 17

union flow_key {
	struct nt_flow_key4 v4;
	struct nt_flow_key6 v6;
};

union flow_value {
	struct nt_flow head;
	struct nt_flow4 v4;
	struct nt_flow6 v6;
};

/* Everything about a flow besides its tuples. */
struct flow_facts {
	__u32 created;
	__u32 flags;
	nt_backend_id backend;
	nt_service_id service;
	struct nt_path path; /* of flows that are sent on; of others it is left as it was */
};

#define FLOW_SENT_ON (NT_FLOW_MASQUERADED | NT_FLOW_DSR)

/* More happens to its packets than that their destination is rewritten. */
#define FLOW_SPECIAL (FLOW_SENT_ON | NT_FLOW_REMAPPED | NT_FLOW_DSR_REPLY)

/* A question to the kernel's routing table and its answer. */
struct route {
	struct tuple to; /* the packet as it shall leave */
	struct nt_path path;
	__u32 device;	  /* NT_DEVICE_... of the device it leaves by */
	__be32 source[4]; /* address of this node there */
};

/* A flow's entry as it was read. */
struct found {
	union flow_key key;
	struct tuple to;
	struct flow_facts facts;
};

/* An IP header, to be put around a packet or taken off it. */
union outer {
	struct iphdr v4;
	struct ipv6hdr v6;
};

union frontend_key {
	struct nt_frontend_key4 v4;
	struct nt_frontend_key6 v6;
};

/* What a program needs of a frontend, copied out of the element. */
struct frontend {
	nt_service_id service;
	nt_set_id set;
	__u32 flags;
	__u32 affinity;
	__u8 refusal;
};

/* What is to become of the first packet of a flow. */
struct decision {
	struct tuple to;
	struct flow_facts facts;
	bool local; /* the backend is on this node */
	bool untracked;
};

/*
 * Room for making entries, beside the 512 bytes of stack. A CPU runs one program at a time
 * (softirqs are off or are being served), so what is in it belongs to the packet being processed.
 */
struct scratch {
	struct tuple wire;
	struct tuple to;
	union flow_key key;
	union flow_value value;
	/* of the flow that is in the way */
	struct tuple other_wire;
	struct tuple other_to;
	union flow_key other_key;
	struct packet pkt;
	struct found found;
	struct frontend frontend;
	union frontend_key frontend_key;
	struct route route;
	union outer outer;
	struct decision decision;
	__u32 start; /* where the search for a free port begins */
	int answer;
	/* The flood guard's: new flows in this tick. */
	__u32 flood_tick;
	__u32 flood_count;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} nt_scratch SEC(".maps");

/* Never NULL; the verifier wants it checked all the same. */
static __always_inline struct scratch *scratch(void)
{

	return bpf_map_lookup_elem(&nt_scratch, &zero);
}

static __always_inline bool flow_closed(__u32 flags)
{
	const __u32 both = NT_FLOW_FIN_FORWARD | NT_FLOW_FIN_REVERSE;

	return (flags & NT_FLOW_RST) || (flags & both) == both;
}

static __always_inline void reverse_tuple(struct tuple *out, const struct tuple *in)
{
	out->src = in->dst;
	out->dst = in->src;
	out->sport = in->dport;
	out->dport = in->sport;
	out->protocol = in->protocol;
}

static __always_inline void copy_address(__be32 *out, const __be32 *in, const bool v6)
{
	for (__u32 i = 0; i < words(v6); i++)
		out[i] = in[i];
}

static __always_inline bool same_address(const __be32 *a, const __be32 *b, const bool v6)
{
	__u32 difference = 0;

	for (__u32 i = 0; i < words(v6); i++)
		difference |= a[i] ^ b[i];
	return !difference;
}

static __always_inline void flow_key(union flow_key *key, const struct tuple *t,
				     const __u8 direction, const bool v6)
{
	if (v6) {
		copy_address(key->v6.src, t->src.w, true);
		copy_address(key->v6.dst, t->dst.w, true);
		key->v6.sport = t->sport;
		key->v6.dport = t->dport;
		key->v6.protocol = t->protocol;
		key->v6.direction = direction;
		key->v6.pad = 0;
	} else {
		key->v4.src[0] = t->src.w[0];
		key->v4.dst[0] = t->dst.w[0];
		key->v4.sport = t->sport;
		key->v4.dport = t->dport;
		key->v4.protocol = t->protocol;
		key->v4.direction = direction;
		key->v4.pad = 0;
	}
}

static __always_inline struct nt_flow *flow_find(const union flow_key *key, const bool v6)
{
	if (v6)
		return key->v6.protocol == IPPROTO_UDP
			   ? bpf_map_lookup_elem(&nt_udp_flows6, &key->v6)
			   : bpf_map_lookup_elem(&nt_tcp_flows6, &key->v6);
	return key->v4.protocol == IPPROTO_UDP ? bpf_map_lookup_elem(&nt_udp_flows4, &key->v4)
					       : bpf_map_lookup_elem(&nt_tcp_flows4, &key->v4);
}

/* The word of a sender's bit in nt_silent, and the bit. */
static __always_inline __u64 *silent_word(const __be32 *address, nt_port port, __u8 protocol,
					  __u64 *bit, const bool v6)
{
	__u64 hash = HASH_SEED;
	__u32 index;

	if (v6)
		hash = hash_word(hash, (__u64)(address[0] ^ address[2]) << 32 |
					   (address[1] ^ address[3]));
	else
		hash = hash_word(hash, address[0]);
	hash = (hash ^ ((__u32)protocol << 16 | port)) * HASH_MIX;
	index = (hash >> 32) % NT_SILENT_WORDS;
	*bit = 1ULL << (hash >> 58);
	return bpf_map_lookup_elem(&nt_silent, &index);
}

/* Whether packets from there can be replies. */
static __always_inline bool may_reply(const struct tuple *t, const bool v6)
{
	__u64 bit, *word = silent_word(t->src.w, t->sport, t->protocol, &bit, v6);

	return !word || !(*(volatile __u64 *)word & bit);
}

static __always_inline void expect_replies(const union flow_key *key, const bool v6)
{
	__u64 bit, *word;

	if ((v6 ? key->v6.direction : key->v4.direction) != NT_REVERSE)
		return;
	word = v6 ? silent_word(key->v6.src, key->v6.sport, key->v6.protocol, &bit, true)
		  : silent_word(key->v4.src, key->v4.sport, key->v4.protocol, &bit, false);
	if (word && *(volatile __u64 *)word & bit)
		__sync_fetch_and_and(word, ~bit);
}

static __always_inline long flow_store(const union flow_key *key, const union flow_value *value,
				       __u64 mode, const bool v6)
{
	if (nt_config.tracing)
		return mode == BPF_NOEXIST && flow_find(key, v6) ? -EEXIST : 0;
	expect_replies(key, v6);
	if (v6)
		return key->v6.protocol == IPPROTO_UDP
			   ? bpf_map_update_elem(&nt_udp_flows6, &key->v6, &value->v6, mode)
			   : bpf_map_update_elem(&nt_tcp_flows6, &key->v6, &value->v6, mode);
	return key->v4.protocol == IPPROTO_UDP
		   ? bpf_map_update_elem(&nt_udp_flows4, &key->v4, &value->v4, mode)
		   : bpf_map_update_elem(&nt_tcp_flows4, &key->v4, &value->v4, mode);
}

static __always_inline void flow_remove(const union flow_key *key, const bool v6)
{
	if (nt_config.tracing)
		return;
	if (v6 && key->v6.protocol == IPPROTO_UDP)
		bpf_map_delete_elem(&nt_udp_flows6, &key->v6);
	else if (v6)
		bpf_map_delete_elem(&nt_tcp_flows6, &key->v6);
	else if (key->v4.protocol == IPPROTO_UDP)
		bpf_map_delete_elem(&nt_udp_flows4, &key->v4);
	else
		bpf_map_delete_elem(&nt_tcp_flows4, &key->v4);
}

static __always_inline void flow_value(union flow_value *value, const struct tuple *on_wire,
				       const struct tuple *to, const __u8 direction,
				       const struct flow_facts *facts, __u32 now, const bool v6)
{
	value->head.check = flow_check(on_wire, direction, v6);
	value->head.seen = now;
	value->head.created = facts->created;
	value->head.flags = facts->flags;
	value->head.backend = facts->backend;
	value->head.service = facts->service;
	value->head.sport = to->sport;
	value->head.dport = to->dport;
	__builtin_memset(&value->head.path, 0, sizeof(value->head.path));
	copy_address(v6 ? value->v6.src : value->v4.src, to->src.w, v6);
	copy_address(v6 ? value->v6.dst : value->v4.dst, to->dst.w, v6);
}

/*
 * Reads the rewrite and the facts of the entry found for `on_wire`; false when the element has been
 * recycled meanwhile: the check is written first and verified last (see struct nt_flow).
 */
static __always_inline bool flow_read(const struct nt_flow *flow, const struct tuple *on_wire,
				      const __u8 direction, struct tuple *to,
				      struct flow_facts *facts, const bool v6)
{
	facts->created = flow->created;
	facts->flags = flow->flags;
	facts->backend = flow->backend;
	facts->service = flow->service;
	to->sport = flow->sport;
	to->dport = flow->dport;
	to->protocol = on_wire->protocol;
	if (facts->flags & FLOW_SENT_ON)
		facts->path = flow->path;
	copy_address(to->src.w,
		     v6 ? ((struct nt_flow6 *)flow)->src : ((struct nt_flow4 *)flow)->src, v6);
	copy_address(to->dst.w,
		     v6 ? ((struct nt_flow6 *)flow)->dst : ((struct nt_flow4 *)flow)->dst, v6);
	barrier();
	return *(volatile __u32 *)&flow->check == flow_check(on_wire, direction, v6);
}

/* Looks for the flow of a packet; NULL if there is none. What it says is in `found`. */
static __always_inline struct nt_flow *flow_of(const struct tuple *t, const __u8 direction,
					       struct found *found, const bool v6)
{
	struct nt_flow *flow;

	flow_key(&found->key, t, direction, v6);
	flow = flow_find(&found->key, v6);
	return flow && flow_read(flow, t, direction, &found->to, &found->facts, v6) ? flow : NULL;
}

static __always_inline bool flow_leads_to(const struct nt_flow *flow, const struct tuple *to,
					  const bool v6)
{
	return flow->sport == to->sport && flow->dport == to->dport &&
	       same_address(v6 ? ((struct nt_flow6 *)flow)->src : ((struct nt_flow4 *)flow)->src,
			    to->src.w, v6) &&
	       same_address(v6 ? ((struct nt_flow6 *)flow)->dst : ((struct nt_flow4 *)flow)->dst,
			    to->dst.w, v6);
}

/*
 * Notes a packet of an established flow. Both entries are kept young together, so that a one-way
 * flow keeps its reply path; the LRU may still evict one of them, and then it is put back. Writes
 * at most once a tick, besides changes of state.
 */
static __always_inline void flow_touch(struct nt_flow *flow, const struct packet *pkt,
				       const struct tuple *to, const struct flow_facts *facts,
				       const __u8 direction, const __u32 program, const bool v6)
{
	const __u8 peer_direction = direction == NT_FORWARD ? NT_REVERSE : NT_FORWARD;
	struct scratch *work;
	struct nt_flow *peer;
	__u32 now = tick();
	__u32 news = 0;
	bool revived;

	/* No replies come by here where the backend's node sends them, but a client that goes on
	 * has had one. */
	if (direction == NT_REVERSE || (facts->flags & NT_FLOW_DSR && !(pkt->tcp & TCP_SYN)))
		news |= NT_FLOW_REPLIED;
	if (pkt->tcp & TCP_FIN)
		news |= direction == NT_FORWARD ? NT_FLOW_FIN_FORWARD : NT_FLOW_FIN_REVERSE;
	if (pkt->tcp & TCP_RST)
		news |= NT_FLOW_RST;
	/* TCP ignores a reset that does not fit; a backend that then goes on talking says so. */
	revived = direction == NT_REVERSE && facts->flags & NT_FLOW_RST && !(pkt->tcp & TCP_RST);
	if (nt_config.tracing || (flow->seen == now && (facts->flags & news) == news && !revived))
		return;

	work = scratch();
	if (!work)
		return;
	if (news)
		__sync_fetch_and_or(&flow->flags, news);
	if (revived)
		__sync_fetch_and_and(&flow->flags, ~NT_FLOW_RST);
	flow->seen = now;
	/* No replies come back to this node. */
	if (facts->flags & NT_FLOW_DSR)
		return;
	reverse_tuple(&work->wire, to);
	reverse_tuple(&work->to, &pkt->tuple);
	flow_key(&work->key, &work->wire, peer_direction, v6);
	peer = flow_find(&work->key, v6);
	if (!peer) {
		flow_value(&work->value, &work->wire, &work->to, peer_direction, facts, now, v6);
		work->value.head.flags |= news;
		if (revived)
			work->value.head.flags &= ~NT_FLOW_RST;
		if (!flow_store(&work->key, &work->value, BPF_NOEXIST, v6))
			count(program, NT_FLOW_REPAIRED);
	} else if (flow_leads_to(peer, &work->to, v6)) {
		if (news)
			__sync_fetch_and_or(&peer->flags, news);
		if (revived)
			__sync_fetch_and_and(&peer->flags, ~NT_FLOW_RST);
		peer->seen = now;
	}
}

#endif
