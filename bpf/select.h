/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* From a frontend to a backend. Shared by the packet programs and the socket hooks. */
#ifndef NT_SELECT_H
#define NT_SELECT_H

#include "flow.h"

/* By which kind of device the packet comes. */
static __always_inline enum nt_scope scope_of(const __u32 program)
{
	return program == NT_PROGRAM_WORKLOAD_INGRESS ? NT_SCOPE_INTERNAL : NT_SCOPE_EXTERNAL;
}

static __always_inline struct nt_address *address_lookup(const struct nt_addr *addr, const bool v6)
{
	if (v6) {
		struct nt_address_key6 key;

		copy_address(key.addr, addr->w, true);
		return bpf_map_lookup_elem(&nt_addresses6, &key);
	} else {
		struct nt_address_key4 key = {.addr = {addr->w[0]}};

		return bpf_map_lookup_elem(&nt_addresses4, &key);
	}
}

static __always_inline bool is_nat_port(nt_port port)
{
	__u16 number = bpf_ntohs(port);

	return number >= nt_config.nat_port_first && number <= nt_config.nat_port_last;
}

static __always_inline bool in_cluster_range(const struct nt_node *node, const struct nt_addr *addr,
					     const bool v6)
{
	if (v6) {
		__u64 high = pair(addr->w[0], addr->w[1]), low = pair(addr->w[2], addr->w[3]);

		return (high > node->cluster_first6[0] ||
			(high == node->cluster_first6[0] && low >= node->cluster_first6[1])) &&
		       (high < node->cluster_last6[0] ||
			(high == node->cluster_last6[0] && low <= node->cluster_last6[1]));
	}
	return bpf_ntohl(addr->w[0]) >= node->cluster_first4 &&
	       bpf_ntohl(addr->w[0]) <= node->cluster_last4;
}

static __always_inline struct nt_frontend *frontend_lookup(const struct tuple *t,
							   union frontend_key *key, const bool v6)
{
	if (v6) {
		copy_address(key->v6.addr, t->dst.w, true);
		key->v6.port = t->dport;
		key->v6.protocol = t->protocol;
		key->v6.pad = 0;
		return bpf_map_lookup_elem(&nt_frontends6, &key->v6);
	}
	key->v4.addr[0] = t->dst.w[0];
	key->v4.port = t->dport;
	key->v4.protocol = t->protocol;
	key->v4.pad = 0;
	return bpf_map_lookup_elem(&nt_frontends4, &key->v4);
}

#define FOUND	  1
#define NOT_FOUND 0
#define RACED	  -1

static __always_inline int frontend_read(const struct tuple *t, const enum nt_scope scope,
					 union frontend_key *key, struct frontend *out,
					 const bool v6)
{
	struct nt_frontend *found = frontend_lookup(t, key, v6);

	if (!found)
		return NOT_FOUND;
	out->service = found->service;
	out->set = found->set[scope];
	out->flags = found->flags;
	out->affinity = found->affinity;
	out->refusal = found->refusal[scope];
	barrier();
	/* The writer copies the key first, so a key that still fits vouches for what was read
	 * before. */
	if (*(volatile nt_port *)&found->port != t->dport || found->protocol != t->protocol ||
	    !same_address(found->addr.w, t->dst.w, v6))
		return RACED;
	return FOUND;
}

/* Looks for the frontend of a tuple's destination; what it says is in `out` then. */
static __always_inline int frontend_find_in(const struct tuple *t, const enum nt_scope scope,
					    union frontend_key *key, struct frontend *out,
					    const __u32 program, const bool v6)
{
	int answer = frontend_read(t, scope, key, out, v6);

	if (answer != RACED)
		return answer;
	count(program, NT_RACE_RETRIED);
	return frontend_read(t, scope, key, out, v6);
}

/* The same with the packet programs' room; what it says is in `work->frontend` then. */
static __always_inline int frontend_find(const struct tuple *t, const enum nt_scope scope,
					 struct scratch *work, const __u32 program, const bool v6)
{
	return frontend_find_in(t, scope, &work->frontend_key, &work->frontend, program, v6);
}

/* Whether `service` lets this source in; of frontends with NT_FRONTEND_SOURCE_RANGES. */
static __always_inline bool source_allowed(nt_service_id service, const __be32 *source,
					   const bool v6)
{
	if (v6) {
		struct nt_range_key6 key = {.prefix_length = 32 + 128, .service = service};

		copy_address(key.addr, source, true);
		return bpf_map_lookup_elem(&nt_ranges6, &key);
	} else {
		struct nt_range_key4 key = {
		    .prefix_length = 32 + 32, .service = service, .addr = {source[0]}};

		return bpf_map_lookup_elem(&nt_ranges4, &key);
	}
}

static __always_inline bool backend_fits(const struct nt_backend *backend, __u8 protocol,
					 const bool v6)
{
	return backend && backend->state != NT_BACKEND_FREE && backend->protocol == protocol &&
	       backend->family == (v6 ? 6 : 4);
}

/* The backend of a hash, by its Maglev slot; NULL if the maps contradict themselves. */
static __always_inline struct nt_backend *
slot_backend(const struct nt_set *set, __u32 hash, __u8 protocol, nt_backend_id *id, const bool v6)
{
	struct nt_trace *record = trace();
	struct nt_slot_line *line;
	struct nt_backend *backend;
	__u32 slot, index;

	/* Slot 0 of a freed set would be another set's. */
	if (!set->slots)
		return NULL;
	/* Multiply-shift: an even map of the hash to 0 ..< slots without a division. */
	slot = (__u64)hash * set->slots >> 32;
	index = set->line + slot / NT_SLOTS_PER_LINE;
	line = bpf_map_lookup_elem(&nt_slots, &index);
	if (!line)
		return NULL;
	*id = line->slot[slot % NT_SLOTS_PER_LINE];
	if (record) {
		record->flags |= NT_TRACE_SLOT;
		record->slot = slot;
		record->slots = set->slots;
	}
	backend = bpf_map_lookup_elem(&nt_backends, id);
	return backend_fits(backend, protocol, v6) ? backend : NULL;
}

/* Looks for an id among the sorted ones of a set's members. */
struct member_search {
	__u32 line; /* of the first member */
	__u32 low;
	__u32 high;
	nt_backend_id wanted;
	bool found;
};

static long member_step(__u32 step, struct member_search *search)
{
	__u32 middle = (search->low + search->high) / 2;
	__u32 index = search->line + middle / NT_SLOTS_PER_LINE;
	struct nt_slot_line *line;
	nt_backend_id id;

	if (search->low >= search->high)
		return 1;
	line = bpf_map_lookup_elem(&nt_slots, &index);
	if (!line)
		return 1;
	id = line->slot[middle % NT_SLOTS_PER_LINE];
	if (id == search->wanted) {
		search->found = true;
		return 1;
	}
	if (id < search->wanted)
		search->low = middle + 1;
	else
		search->high = middle;
	return 0;
}

static __always_inline bool is_member(const struct nt_set *set, nt_backend_id id)
{
	struct member_search search = {
	    .line = set->line + (set->slots + NT_SLOTS_PER_LINE - 1) / NT_SLOTS_PER_LINE,
	    .high = set->backends,
	    .wanted = id,
	};

	/* 2^24 members are more than there are ids. */
	bpf_loop(24, member_step, &search, 0);
	return search.found;
}

/* The backend this client had last, if its time is not over and the set still has it. */
static __always_inline struct nt_backend *affine_backend(const struct nt_affinity_key *key,
							 const struct frontend *frontend,
							 const struct nt_set *set, __u8 protocol,
							 nt_backend_id *id, const bool v6)
{
	struct nt_affinity *last = bpf_map_lookup_elem(&nt_affinity, key);
	struct nt_trace *record = trace();
	struct nt_backend *backend;

	if (!last || bpf_ktime_get_ns() - last->used > frontend->affinity * 1000000000ULL)
		return NULL;
	*id = last->backend;
	backend = bpf_map_lookup_elem(&nt_backends, id);
	if (!backend_fits(backend, protocol, v6) || backend->state != NT_BACKEND_ACTIVE ||
	    !is_member(set, *id))
		return NULL;
	if (record)
		record->flags |= NT_TRACE_AFFINITY;
	return backend;
}

static __always_inline void remember_affinity(const struct nt_affinity_key *key, nt_backend_id id)
{
	struct nt_affinity now = {.used = bpf_ktime_get_ns(), .backend = id};

	if (!nt_config.tracing)
		bpf_map_update_elem(&nt_affinity, key, &now, BPF_ANY);
}

/*
 * The backend of a new flow; NULL if the maps contradict themselves. `client` is who affinity is
 * for: an address, or what stands for one.
 */
static __always_inline struct nt_backend *select_backend(const struct frontend *frontend,
							 const struct nt_addr *client, __u32 hash,
							 __u8 protocol, nt_backend_id *id,
							 const bool v6)
{
	/* Keys must not lie behind a global function's argument on Linux 6.1. */
	nt_set_id set_id = frontend->set;
	struct nt_set *set = bpf_map_lookup_elem(&nt_sets, &set_id);
	struct nt_affinity_key key = {.service = frontend->service};
	struct nt_backend *backend;

	if (!set)
		return NULL;
	if (!frontend->affinity)
		return slot_backend(set, hash, protocol, id, v6);
	key.client = *client;
	backend = affine_backend(&key, frontend, set, protocol, id, v6);
	if (!backend)
		backend = slot_backend(set, hash, protocol, id, v6);
	if (backend)
		remember_affinity(&key, *id);
	return backend;
}

#endif
