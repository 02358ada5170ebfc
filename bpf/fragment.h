/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * IP fragments. Only the first one of a datagram has ports; it notes them for the others. One that
 * comes before the first is passed on as it is, and a copy of it is kept: when the first one comes,
 * at tc ingress, it is put back at the end of the CPU's queue and the copies behind it. To send the
 * early one itself around through that queue would be simpler, but helps only if the first one is
 * in it already, and not when it is some microseconds away.
 */
#ifndef NT_FRAGMENT_H
#define NT_FRAGMENT_H

#include "path.h"
#include "select.h"

/* Ticks for which the ports of a datagram are known: 30 s, as long as Linux keeps its fragments. */
#define FRAGMENT_LIFE 56
/* Ticks for which a copy is of use. Reordering is a matter of milliseconds. */
#define KEPT_LIFE 2
/* Copies of one datagram. */
#define KEPT_MAX  8
#define KEPT_SIZE 1500

struct kept_key {
	struct nt_fragment_key datagram;
	__u32 slot;
};

struct kept_fragment {
	__u32 seen;
	__u16 offset; /* in the datagram */
	__u16 length;
	__u8 packet[KEPT_SIZE]; /* from the IP header on */
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 512);
	__type(key, struct kept_key);
	__type(value, struct kept_fragment);
} nt_kept SEC(".maps");

struct fragment_scratch {
	struct kept_key key;
	struct kept_fragment kept;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct fragment_scratch);
} nt_fragment_tmp SEC(".maps");

static __always_inline void fragment_key(struct nt_fragment_key *key, const struct tuple *t,
					 __u32 id, bool v6)
{
	__builtin_memset(key, 0, sizeof(*key));
	copy_address(key->src.w, t->src.w, v6);
	copy_address(key->dst.w, t->dst.w, v6);
	key->id = id;
	key->protocol = t->protocol;
	key->family = v6 ? 6 : 4;
}

static __always_inline bool older(__u32 seen, __u32 now, __u32 life)
{
	/* Signed: another CPU may be in a later tick. */
	return (__s32)(now - seen) > (__s32)life;
}

static __always_inline bool recall(const struct nt_fragment_key *key, struct tuple *t)
{
	struct nt_fragment *known = bpf_map_lookup_elem(&nt_fragments, key);

	if (!known || older(known->seen, tick(), FRAGMENT_LIFE))
		return false;
	t->sport = known->sport;
	t->dport = known->dport;
	return true;
}

/* Gives a later fragment the ports of the first one; false if they are not known. */
static __always_inline bool recall_ports(struct nt_fragment_key *key, struct tuple *t, __u32 id,
					 bool v6)
{
	fragment_key(key, t, id, v6);
	if (t->protocol == IPPROTO_TCP || t->protocol == IPPROTO_UDP)
		return recall(key, t);
	/* IPv6: extension headers follow the fragment header, and name the protocol in the first
	 * fragment alone. */
	if (!v6 || t->protocol != IPPROTO_DSTOPTS)
		return false;
	t->protocol = key->protocol = IPPROTO_UDP;
	if (recall(key, t))
		return true;
	t->protocol = key->protocol = IPPROTO_TCP;
	return recall(key, t);
}

/* An address of a Service or of this node; others are not kept copies for. */
static __always_inline bool fragment_for_us(void *ctx, const struct packet *pkt,
					    const __u32 program, const bool v6)
{
	struct scratch *work = scratch();

	return address_lookup(&pkt->tuple.dst, v6) ||
	       (work && route_to(ctx, &work->route, &pkt->tuple, program, v6) == ROUTED_LOCAL);
}

static __always_inline void kept_key(struct kept_key *key, const struct packet *pkt)
{
	fragment_key(&key->datagram, &pkt->tuple, pkt->fragment_id, pkt->v6);
	/* In IPv6 it is not part of what tells datagrams apart, and may differ (see above). */
	if (pkt->v6)
		key->datagram.protocol = 0;
	key->slot = 0;
}

/* Both bounds apart: Linux 6.1 does not see through the one comparison a compiler makes of them. */
static __always_inline bool kept_length(__u32 *length)
{
	if (*length < sizeof(struct iphdr))
		return false;
	barrier_var(*length);
	return *length <= KEPT_SIZE;
}

static __always_inline bool keep_copy(struct __sk_buff *ctx, struct packet *pkt,
				      struct fragment_scratch *tmp)
{
	__u32 length = pkt->length, now = tick(), slot;
	struct kept_fragment *kept;

	if (!kept_length(&length))
		return false;
	kept_key(&tmp->key, pkt);
	for (slot = 0; slot < KEPT_MAX; slot++) {
		tmp->key.slot = slot;
		kept = bpf_map_lookup_elem(&nt_kept, &tmp->key);
		if (!kept || older(kept->seen, now, KEPT_LIFE) ||
		    kept->offset == pkt->fragment_offset)
			break;
	}
	if (slot == KEPT_MAX)
		return false;
	tmp->kept.seen = now;
	tmp->kept.offset = pkt->fragment_offset;
	tmp->kept.length = length;
	return !bpf_skb_load_bytes(ctx, pkt->l3 & L4_OFFSET_MAX, tmp->kept.packet, length) &&
	       !bpf_map_update_elem(&nt_kept, &tmp->key, &tmp->kept, BPF_ANY);
}

static __always_inline struct fragment_scratch *fragment_scratch(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&nt_fragment_tmp, &zero);
}

/* 1 if the ports of the first fragment are known now, else 0. */
__noinline int recall_fragment(struct packet *pkt)
{
	struct fragment_scratch *tmp = fragment_scratch();

	return pkt && tmp &&
	       recall_ports(&tmp->key.datagram, &pkt->tuple, pkt->fragment_id, pkt->v6);
}

/* Keeps a copy if the packet may be a Service's. 1 as above: the first one can come meanwhile. */
__noinline int keep_fragment(struct __sk_buff *ctx, struct packet *pkt)
{
	struct fragment_scratch *tmp = fragment_scratch();

	if (!pkt || !tmp)
		return 0;
	if (!(pkt->v6 ? fragment_for_us(ctx, pkt, NT_PROGRAM_EXTERNAL_INGRESS, true)
		      : fragment_for_us(ctx, pkt, NT_PROGRAM_EXTERNAL_INGRESS, false)))
		return 0;
	if (!keep_copy(ctx, pkt, tmp) || !recall_fragment(pkt))
		return 0;
	bpf_map_delete_elem(&nt_kept, &tmp->key);
	return 1;
}

/* What an earlier datagram noted must not be taken for this one's, should it not be translated. */
__noinline int forget_fragment(struct packet *pkt)
{
	struct fragment_scratch *tmp = fragment_scratch();
	struct nt_fragment *known;

	if (!pkt || !tmp)
		return 0;
	fragment_key(&tmp->key.datagram, &pkt->tuple, pkt->fragment_id, pkt->v6);
	known = bpf_map_lookup_elem(&nt_fragments, &tmp->key.datagram);
	if (known && (known->sport != pkt->tuple.sport || known->dport != pkt->tuple.dport))
		bpf_map_delete_elem(&nt_fragments, &tmp->key.datagram);
	return 0;
}

/* Completes a parsed fragment. PARSED, or the counter of the reason to pass it on untouched. */
static __always_inline int complete_fragment(void *ctx, struct packet *pkt, const __u32 program,
					     const enum nt_direction direction)
{
	if (pkt->fragment == FRAGMENT_FIRST) {
		if (!nt_config.tracing)
			forget_fragment(pkt);
		return PARSED;
	}
	if (recall_fragment(pkt))
		return PARSED;
	if (!is_xdp(program) && direction == NT_FORWARD && !nt_config.tracing &&
	    keep_fragment(ctx, pkt))
		return PARSED;
	return NT_PASS_FRAGMENT;
}

__noinline int note_fragment(struct packet *pkt)
{
	struct fragment_scratch *tmp = fragment_scratch();
	struct nt_fragment value = {.seen = tick()};

	if (!pkt || !tmp)
		return 0;
	value.sport = pkt->tuple.sport;
	value.dport = pkt->tuple.dport;
	fragment_key(&tmp->key.datagram, &pkt->tuple, pkt->fragment_id, pkt->v6);
	return bpf_map_update_elem(&nt_fragments, &tmp->key.datagram, &value, BPF_ANY);
}

/* Notes the ports of the first fragment of a datagram that is translated. */
static __always_inline void fragment_note(const struct packet *pkt)
{
	if (pkt->fragment == FRAGMENT_FIRST && !nt_config.tracing)
		note_fragment((struct packet *)pkt);
}

/* Whether copies of fragments that came before this one, the first, are kept. */
__noinline int fragment_awaited(struct packet *pkt)
{
	struct fragment_scratch *tmp = fragment_scratch();
	struct kept_fragment *kept;

	if (!pkt || !tmp)
		return 0;
	kept_key(&tmp->key, pkt);
	kept = bpf_map_lookup_elem(&nt_kept, &tmp->key);
	return kept && !older(kept->seen, tick(), KEPT_LIFE);
}

/*
 * Makes the link header part of a packet that begins behind it (see lacks_link_header): none is put
 * back without. Making room for it overwrites the one that is there.
 */
static __always_inline bool show_link_header(struct __sk_buff *ctx, struct packet *pkt)
{
	struct ethhdr eth;

	if (pkt->l4 + sizeof(eth) > L4_OFFSET_MAX ||
	    bpf_skb_load_bytes_relative(ctx, 0, &eth, sizeof(eth), BPF_HDR_START_MAC) ||
	    eth.h_proto != (__be16)ctx->protocol || bpf_skb_change_head(ctx, sizeof(eth), 0))
		return false;
	pkt->l3 += sizeof(eth);
	pkt->l4 += sizeof(eth);
	return !bpf_skb_store_bytes(ctx, 0, &eth, sizeof(eth), 0);
}

/*
 * Puts the packet back into the queue of this CPU, and the copies behind it, each into what is then
 * left of the packet: one way to make packets that a program has. 0 if none was put back and the
 * packet is as it was; 1 if it is now the last copy, to be put back; -1 if it is to be dropped.
 */
static __always_inline int put_back(struct __sk_buff *ctx, struct packet *pkt,
				    struct fragment_scratch *tmp, const __u32 program)
{
	struct kept_fragment *kept;
	__u32 l3, now = tick();
	bool whole = true;
	int answer = 0;

	if (!pkt->l3 && !show_link_header(ctx, pkt))
		return 0;
	l3 = pkt->l3 & L4_OFFSET_MAX;
	kept_key(&tmp->key, pkt);
	for (__u32 slot = 0; slot < KEPT_MAX; slot++) {
		__u32 length;

		tmp->key.slot = slot;
		kept = bpf_map_lookup_elem(&nt_kept, &tmp->key);
		if (!kept)
			break;
		if (older(kept->seen, now, KEPT_LIFE))
			continue;
		length = kept->length;
		if (!kept_length(&length))
			break;
		if (whole && bpf_clone_redirect(ctx, ctx->ifindex, BPF_F_INGRESS))
			return answer ? -1 : 0;
		/* The element may be recycled for another key while it is read; only then there is
		 * nothing to delete any more. */
		whole = !bpf_skb_change_tail(ctx, l3 + length, 0) &&
			!bpf_skb_store_bytes(ctx, l3, kept->packet, length, BPF_F_RECOMPUTE_CSUM) &&
			!bpf_map_delete_elem(&nt_kept, &tmp->key);
		answer = whole ? 1 : -1;
		if (whole)
			count(program, NT_FRAGMENT_REORDERED);
	}
	return answer;
}

__noinline int put_back_external(struct __sk_buff *ctx, struct packet *pkt)
{
	struct fragment_scratch *tmp = fragment_scratch();

	return pkt && tmp ? put_back(ctx, pkt, tmp, NT_PROGRAM_EXTERNAL_INGRESS) : 0;
}

__noinline int put_back_workload(struct __sk_buff *ctx, struct packet *pkt)
{
	struct fragment_scratch *tmp = fragment_scratch();

	return pkt && tmp ? put_back(ctx, pkt, tmp, NT_PROGRAM_WORKLOAD_INGRESS) : 0;
}

/*
 * The first fragment of a datagram that is about to be translated: whether others came before it,
 * and it goes back into the queue in front of them. Then *verdict is set.
 */
static __always_inline bool gather_fragments(void *ctx, struct packet *pkt, int *verdict,
					     const __u32 program)
{
	int answer;

	if (pkt->fragment != FRAGMENT_FIRST || nt_config.tracing || !fragment_awaited(pkt))
		return false;
	if (is_xdp(program)) {
		count(program, NT_PASS_TO_TC);
		*verdict = packet_pass(program);
		return true;
	}
	/* Where the header around it is gone, so is what says which backend it is for. */
	if (pkt->backend)
		return false;
	answer = program == NT_PROGRAM_WORKLOAD_INGRESS ? put_back_workload(ctx, pkt)
							: put_back_external(ctx, pkt);
	if (!answer)
		return false;
	*verdict = answer > 0 ? (int)bpf_redirect(((struct __sk_buff *)ctx)->ifindex, BPF_F_INGRESS)
			      : packet_drop(program);
	return true;
}

#endif
