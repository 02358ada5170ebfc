/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The hash of a tuple. It decides which Maglev slot a flow has, on every node and in every version:
 * never change it (Sources/Maglev/FlowHash.swift is the same function, pinned by golden values).
 */
#ifndef NT_HASH_H
#define NT_HASH_H

#include "packet.h"

#define HASH_SEED 0x9e3779b97f4a7c15ULL
#define HASH_MIX  0xd6e8feb86659fd93ULL

static __always_inline __u64 hash_word(__u64 hash, __u64 word)
{
	hash = (hash ^ word) * HASH_MIX;
	return hash ^ hash >> 32;
}

static __always_inline __u64 pair(__be32 high, __be32 low)
{
	return (__u64)bpf_ntohl(high) << 32 | bpf_ntohl(low);
}

/* Its high half decides; the low one tells apart tuples that have the same. */
static __always_inline __u64 tuple_hash64(const struct tuple *t, const bool v6)
{
	__u64 hash = HASH_SEED;

	if (v6) {
		hash = hash_word(hash, pair(t->src.w[0], t->src.w[1]));
		hash = hash_word(hash, pair(t->src.w[2], t->src.w[3]));
		hash = hash_word(hash, pair(t->dst.w[0], t->dst.w[1]));
		hash = hash_word(hash, pair(t->dst.w[2], t->dst.w[3]));
	} else {
		hash = hash_word(hash, pair(t->src.w[0], t->dst.w[0]));
	}
	/* Ports low: a multiplication carries upwards only, so high bits would hardly spread. */
	hash = hash_word(hash, (__u64)t->protocol << 32 | (__u32)bpf_ntohs(t->sport) << 16 |
				   bpf_ntohs(t->dport));
	return hash * HASH_MIX;
}

static __always_inline __u32 tuple_hash(const struct tuple *t, const bool v6)
{
	return tuple_hash64(t, v6) >> 32;
}

/* Tells a flow entry from another one's; depends on the direction, since a tuple may have both. */
static __always_inline __u32 flow_check(const struct tuple *t, const __u8 direction, const bool v6)
{
	return tuple_hash(t, v6) + direction;
}

#endif
