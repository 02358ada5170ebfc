/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The programs of the benchmark. A wrapper restores the packet, since BPF_PROG_TEST_RUN does not do
 * so between repetitions, makes it the next flow's and tail-calls the program under test. With the
 * empty program in that place it measures itself; the floors are what a datapath cannot do without.
 */
#include <stdbool.h>
#include <stddef.h>

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "abi/bench/bench.h"
#include "abi/needletail.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct nt_bench_case);
} bench_case SEC(".maps");

#define PROGRAMS(name)                                 \
	struct {                                       \
		__uint(type, BPF_MAP_TYPE_PROG_ARRAY); \
		__uint(max_entries, 1);                \
		__type(key, __u32);                    \
		__type(value, __u32);                  \
	} name SEC(".maps")

/* "frags" as the datapath has it: the kernel tail-calls only between programs that agree on it. */
PROGRAMS(bench_xdp);
PROGRAMS(bench_xdp_linear);
PROGRAMS(bench_tc);

/* Addresses (low 16 bits, in the high half) and ports of flows that no rule leads to. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} bench_list4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} bench_list6 SEC(".maps");

/* Tables of the floors, with the datapath's own keys and values; the loader sets the sizes. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 262144);
	__type(key, struct nt_flow_key4);
	__type(value, struct nt_flow4);
} floor_flows4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 262144);
	__type(key, struct nt_flow_key6);
	__type(value, struct nt_flow6);
} floor_flows6 SEC(".maps");

/* A Maglev table and its backends, filled by the harness. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, (NT_BENCH_SLOTS + NT_SLOTS_PER_LINE - 1) / NT_SLOTS_PER_LINE);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct nt_slot_line);
} floor_slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, struct nt_backend);
} floor_backends SEC(".maps");

/*
 * A flow table of cache lines for comparison with the kernel's LRU hash. Mappable, because only the
 * elements of mappable arrays begin at a line of the cache. A power of two lines; the loader sets
 * how many, and the mask to it.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct nt_bench_dense_line);
} floor_dense SEC(".maps");

const volatile __u32 dense_mask = 65535;

static __always_inline struct nt_bench_case *the_case(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&bench_case, &zero);
}

static __always_inline __u16 fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

/* ---- the wrappers ---- */

enum shape {
	SHAPE_TCP,
	SHAPE_UDP,
	SHAPE_ERROR, /* an ICMP error; the tuple is the quoted one */
};

/* Where things are in the headers, in words; constants after inlining. */
static __always_inline __u32 words_of(const enum shape shape, const bool v6)
{
	if (shape == SHAPE_ERROR)
		return v6 ? NT_BENCH_WORDS_ERROR6 : NT_BENCH_WORDS_ERROR4;
	if (shape == SHAPE_UDP)
		return v6 ? NT_BENCH_WORDS_UDP6 : NT_BENCH_WORDS_UDP4;
	return v6 ? NT_BENCH_WORDS_TCP6 : NT_BENCH_WORDS_TCP4;
}

static __always_inline __u32 inner_header(const enum shape shape, const bool v6)
{
	return shape == SHAPE_ERROR ? (v6 ? 12 : 7) : 0;
}

/* Which end of the flow a run has: 16 bits of an address and a port, in host byte order. */
struct flow_end {
	__u32 service;
	__u32 address;
	__u32 port;
};

static __always_inline bool next_flow(struct nt_bench_case *c, struct flow_end *end, const bool v6)
{
	__u64 flow = (c->next++ * c->stride) & c->mask;

	end->service = flow * c->services >> c->shift;
	end->address = flow & 0xffff;
	end->port = (c->first_port + (flow >> 16)) & 0xffff;
	if (c->listed) {
		__u32 index = flow;
		__u32 *entry = v6 ? bpf_map_lookup_elem(&bench_list6, &index)
				  : bpf_map_lookup_elem(&bench_list4, &index);

		if (!entry)
			return false;
		end->address = *entry >> 16;
		end->port = *entry & 0xffff;
	}
	return true;
}

/*
 * Writes the headers. Stores have the widths in which the programs load, or larger ones: a load
 * that needs two stores still in flight waits for both, which no packet from a device makes it do.
 */
static __always_inline bool restore(struct nt_bench_case *c, void *data, void *end,
				    const enum shape shape, const bool v6)
{
	const __u32 words = words_of(shape, v6), ip = inner_header(shape, v6);
	const __u32 src = ip + (v6 ? 5 : 3), dst = ip + (v6 ? 9 : 4), ports = ip + (v6 ? 10 : 5);
	const __u32 l4 = ETH_HLEN + (shape == SHAPE_ERROR ? (v6 ? 40 : 20) : ports * 4);
	const __u32 check = l4 + (shape == SHAPE_TCP   ? offsetof(struct tcphdr, check)
				  : shape == SHAPE_UDP ? offsetof(struct udphdr, check)
						       : 2);
	__u16 *ethernet = data;
	__be32 *header = data + ETH_HLEN;
	struct flow_end flow;
	__be16 address, port, service;
	__u16 ip_check = 0, sum;

	if ((void *)(header + words) > end || !next_flow(c, &flow, v6))
		return false;
	address = bpf_htons(flow.address);
	port = bpf_htons(flow.port);
	service = bpf_htons(flow.service);

#pragma clang loop unroll(full)
	for (__u32 i = 0; i < ETH_HLEN / 2; i++)
		ethernet[i] = c->ethernet[i];
#pragma clang loop unroll(full)
	for (__u32 i = 0; i < words; i++)
		header[i] = c->words[i];
	if (c->address_is_destination) {
		header[dst] = c->words[dst] | bpf_htonl(flow.address);
	} else {
		header[src] = c->words[src] | bpf_htonl(flow.address);
		header[dst] = c->words[dst] | bpf_htonl(flow.service);
	}
	header[ports] =
	    c->words[ports] | bpf_htonl(c->port_is_destination ? flow.port : flow.port << 16);
	if (!v6) {
		ip_check = ~fold((__u64)c->ip_sum + address + service);
		*(__u16 *)(data + ETH_HLEN + ip * 4 + offsetof(struct iphdr, check)) = ip_check;
	}
	sum = ~fold((__u64)c->l4_sum + address + port + service +
		    (shape == SHAPE_ERROR ? ip_check : 0));
	/* RFC 768: a sum of 0 is sent as all ones. */
	*(__u16 *)(data + check) = shape == SHAPE_UDP && !sum ? 0xffff : sum;
	return true;
}

static __always_inline int restore_xdp(struct xdp_md *ctx, void *programs, const enum shape shape,
				       const bool v6)
{
	struct nt_bench_case *c = the_case();

	if (c && restore(c, (void *)(long)ctx->data, (void *)(long)ctx->data_end, shape, v6))
		bpf_tail_call_static(ctx, programs, NT_BENCH_TARGET);
	return XDP_ABORTED;
}

static __always_inline int restore_tc(struct __sk_buff *ctx, void *programs, const enum shape shape,
				      const bool v6)
{
	struct nt_bench_case *c = the_case();

	if (!c || (ctx->len != c->length && bpf_skb_change_tail(ctx, c->length, 0)))
		return TC_ACT_SHOT;
	if (restore(c, (void *)(long)ctx->data, (void *)(long)ctx->data_end, shape, v6))
		bpf_tail_call_static(ctx, programs, NT_BENCH_TARGET);
	return TC_ACT_SHOT;
}

#define WRAPPER(section, context, hook, restore, shape, suffix, v6) \
	SEC(section)                                                \
	int wrap_##hook##_##suffix(struct context *ctx)             \
	{                                                           \
		return restore(ctx, &bench_##hook, shape, v6);      \
	}

#define WRAPPERS(section, context, hook, restore)                            \
	WRAPPER(section, context, hook, restore, SHAPE_TCP, tcp4, false)     \
	WRAPPER(section, context, hook, restore, SHAPE_TCP, tcp6, true)      \
	WRAPPER(section, context, hook, restore, SHAPE_UDP, udp4, false)     \
	WRAPPER(section, context, hook, restore, SHAPE_UDP, udp6, true)      \
	WRAPPER(section, context, hook, restore, SHAPE_ERROR, error4, false) \
	WRAPPER(section, context, hook, restore, SHAPE_ERROR, error6, true)

WRAPPERS("xdp.frags", xdp_md, xdp, restore_xdp)
WRAPPERS("xdp", xdp_md, xdp_linear, restore_xdp)
WRAPPERS("tc", __sk_buff, tc, restore_tc)

SEC("xdp.frags")
int empty_xdp(struct xdp_md *ctx __attribute__((unused)))
{
	return XDP_PASS;
}

SEC("xdp")
int empty_xdp_linear(struct xdp_md *ctx __attribute__((unused)))
{
	return XDP_PASS;
}

SEC("tc")
int empty_tc(struct __sk_buff *ctx __attribute__((unused)))
{
	return TC_ACT_UNSPEC;
}

/* ---- the floors ---- */

static __always_inline void swap_addresses(__u16 *ethernet)
{
#pragma clang loop unroll(full)
	for (int i = 0; i < 3; i++) {
		__u16 half = ethernet[i];

		ethernet[i] = ethernet[i + 3];
		ethernet[i + 3] = half;
	}
}

SEC("xdp.frags")
int floor_mac_swap(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;

	if (data + ETH_HLEN > (void *)(long)ctx->data_end)
		return XDP_DROP;
	swap_addresses(data);
	return XDP_TX;
}

union floor_key {
	struct nt_flow_key4 v4;
	struct nt_flow_key6 v6;
};

union floor_value {
	struct nt_flow4 v4;
	struct nt_flow6 v6;
};

static __always_inline union floor_key *floor_parse(union floor_key *key, void *l3, void *end,
						    const bool v6)
{
	struct iphdr *ip4 = l3;
	struct ipv6hdr *ip6 = l3;
	struct tcphdr *tcp = v6 ? (void *)(ip6 + 1) : (void *)(ip4 + 1);

	if ((void *)(tcp + 1) > end || (v6 ? ip6->nexthdr : ip4->protocol) != IPPROTO_TCP)
		return NULL;
	__builtin_memset(key, 0, sizeof(*key));
	if (v6) {
		__builtin_memcpy(key->v6.src, &ip6->saddr, sizeof(key->v6.src));
		__builtin_memcpy(key->v6.dst, &ip6->daddr, sizeof(key->v6.dst));
		key->v6.sport = tcp->source;
		key->v6.dport = tcp->dest;
		key->v6.protocol = IPPROTO_TCP;
	} else {
		if (ip4->ihl != 5 || ip4->frag_off & bpf_htons(0x3fff))
			return NULL;
		key->v4.src[0] = ip4->saddr;
		key->v4.dst[0] = ip4->daddr;
		key->v4.sport = tcp->source;
		key->v4.dport = tcp->dest;
		key->v4.protocol = IPPROTO_TCP;
	}
	return key;
}

/* Puts the value's destination into the packet and keeps its checksums right (RFC 1624). */
static __always_inline void floor_translate(void *l3, const __be32 *to, nt_port port, const bool v6)
{
	struct iphdr *ip4 = l3;
	struct ipv6hdr *ip6 = l3;
	struct tcphdr *tcp = v6 ? (void *)(ip6 + 1) : (void *)(ip4 + 1);
	__be32 *dst = v6 ? ip6->daddr.in6_u.u6_addr32 : &ip4->daddr;
	__u64 sum = 0;

#pragma clang loop unroll(full)
	for (__u32 i = 0; i < (v6 ? 4 : 1); i++) {
		sum += (__u64)(__u32)~dst[i] + to[i];
		dst[i] = to[i];
	}
	if (!v6)
		ip4->check = ~fold((__u16)~ip4->check + sum);
	sum += (__u64)(__u16)~tcp->dest + port;
	tcp->dest = port;
	tcp->check = ~fold((__u16)~tcp->check + sum);
}

static __always_inline int floor_fail(void)
{
	struct nt_bench_case *c = the_case();

	if (c)
		c->failures++;
	return XDP_DROP;
}

static __always_inline int floor_hit(void *l3, void *end, const bool v6)
{
	void *flows = v6 ? (void *)&floor_flows6 : (void *)&floor_flows4;
	union floor_value *value;
	union floor_key key;

	if (!floor_parse(&key, l3, end, v6))
		return floor_fail();
	value = bpf_map_lookup_elem(flows, &key);
	if (!value)
		return floor_fail();
	if (v6)
		floor_translate(l3, value->v6.dst, value->v6.head.dport, true);
	else
		floor_translate(l3, value->v4.dst, value->v4.head.dport, false);
	return XDP_TX;
}

static __always_inline int floor_miss(void *l3, void *end, const bool v6)
{
	void *flows = v6 ? (void *)&floor_flows6 : (void *)&floor_flows4;
	union floor_value value = {};
	union floor_key key;
	__be32 *dst = v6 ? value.v6.dst : value.v4.dst;

	if (!floor_parse(&key, l3, end, v6))
		return floor_fail();
	/* Any other address will do: the cost is the same. */
	dst[0] = bpf_htonl(v6 ? 0x20010db8 : 0xc0000201);
	value.v4.head.dport = bpf_htons(8080);
	if (bpf_map_update_elem(flows, &key, &value, BPF_NOEXIST))
		return floor_fail();
	floor_translate(l3, dst, value.v4.head.dport, v6);
	return XDP_TX;
}

static __always_inline __u64 mix(__u64 hash, __u64 word)
{
	hash = (hash ^ word) * 0xd6e8feb86659fd93ULL;
	return hash ^ hash >> 32;
}

/* As the datapath hashes a tuple: each word multiplied in. */
static __always_inline __u32 floor_hash(const union floor_key *key, const bool v6)
{
	__u64 hash = 0x9e3779b97f4a7c15ULL;
	__u64 ports;

	if (v6) {
#pragma clang loop unroll(full)
		for (__u32 i = 0; i < 4; i += 2)
			hash = mix(hash, (__u64)key->v6.src[i] << 32 | key->v6.src[i + 1]);
#pragma clang loop unroll(full)
		for (__u32 i = 0; i < 4; i += 2)
			hash = mix(hash, (__u64)key->v6.dst[i] << 32 | key->v6.dst[i + 1]);
		ports = (__u32)key->v6.sport << 16 | key->v6.dport;
	} else {
		hash = mix(hash, (__u64)key->v4.src[0] << 32 | key->v4.dst[0]);
		ports = (__u32)key->v4.sport << 16 | key->v4.dport;
	}
	return mix(hash, ports) * 0xd6e8feb86659fd93ULL >> 32;
}

/* No flow table: the backend is that of the tuple's Maglev slot. */
static __always_inline int floor_slot(void *l3, void *end, const bool v6)
{
	struct nt_slot_line *line;
	struct nt_backend *backend;
	union floor_key key;
	__u32 slot, index;

	if (!floor_parse(&key, l3, end, v6))
		return floor_fail();
	slot = (__u64)floor_hash(&key, v6) * NT_BENCH_SLOTS >> 32;
	index = slot / NT_SLOTS_PER_LINE;
	line = bpf_map_lookup_elem(&floor_slots, &index);
	if (!line)
		return floor_fail();
	index = line->slot[slot % NT_SLOTS_PER_LINE];
	backend = bpf_map_lookup_elem(&floor_backends, &index);
	if (!backend || !backend->port)
		return floor_fail();
	floor_translate(l3, backend->addr.w, backend->port, v6);
	return XDP_TX;
}

static __always_inline struct nt_bench_dense_line *dense_line(const union floor_key *key)
{
	__u32 index = floor_hash(key, false) & dense_mask;

	return bpf_map_lookup_elem(&floor_dense, &index);
}

static __always_inline bool dense_is(const struct nt_bench_dense_entry *entry,
				     const struct nt_flow_key4 *key)
{
	return entry->src == key->src[0] && entry->dst == key->dst[0] &&
	       entry->sport == key->sport && entry->dport == key->dport;
}

/* What was read counts if the line was not being written before and is the same after. */
static __always_inline int floor_dense_find(void *l3, void *end)
{
	struct nt_bench_dense_line *line;
	union floor_key key;
	nt_port port = 0;
	__be32 to = 0;

	if (!floor_parse(&key, l3, end, false))
		return floor_fail();
	line = dense_line(&key);
	if (!line)
		return floor_fail();
#pragma clang loop unroll(full)
	for (__u32 attempt = 0; attempt < 2; attempt++) {
		__u32 sequence = *(volatile __u32 *)&line->sequence;

		barrier();
		port = 0;
#pragma clang loop unroll(full)
		for (__u32 i = 0; i < NT_BENCH_DENSE_WAYS; i++) {
			if (dense_is(&line->entry[i], &key.v4)) {
				to = line->entry[i].to;
				port = line->entry[i].to_port;
			}
		}
		barrier();
		if (!(sequence & 1) && *(volatile __u32 *)&line->sequence == sequence)
			break;
		port = 0;
	}
	if (!port)
		return floor_fail();
	floor_translate(l3, &to, port, false);
	return XDP_TX;
}

/* Takes the place of the entry that was not seen for longest; a free one was never seen. */
static __always_inline int floor_dense_store(void *l3, void *end)
{
	__u16 now = (bpf_ktime_get_coarse_ns() >> NT_TICK_SHIFT) + 1;
	__be32 to = bpf_htonl(0xc0000201);
	struct nt_bench_dense_entry *entry;
	struct nt_bench_dense_line *line;
	__u32 sequence, way = 0, oldest = 0;
	union floor_key key;

	if (!floor_parse(&key, l3, end, false))
		return floor_fail();
	line = dense_line(&key);
	if (!line)
		return floor_fail();
	sequence = *(volatile __u32 *)&line->sequence;
	/* Another writer: this flow goes without an entry, until its next packet. */
	if (sequence & 1 ||
	    __sync_val_compare_and_swap(&line->sequence, sequence, sequence + 1) != sequence)
		return floor_fail();
#pragma clang loop unroll(full)
	for (__u32 i = 0; i < NT_BENCH_DENSE_WAYS; i++) {
		__u32 age = line->entry[i].dport ? (__u16)(now - line->entry[i].seen) : 0x10000;

		if (dense_is(&line->entry[i], &key.v4))
			age = 0x20000;
		/* Of those of one tick by turns. */
		if (age > oldest || (age == oldest && (sequence >> 1) % NT_BENCH_DENSE_WAYS == i)) {
			oldest = age;
			way = i;
		}
	}
	entry = way == 0 ? &line->entry[0] : way == 1 ? &line->entry[1] : &line->entry[2];
	entry->src = key.v4.src[0];
	entry->dst = key.v4.dst[0];
	entry->sport = key.v4.sport;
	entry->dport = key.v4.dport;
	entry->to = to;
	entry->to_port = bpf_htons(8080);
	entry->seen = now;
	__sync_fetch_and_add(&line->sequence, 1);
	floor_translate(l3, &to, bpf_htons(8080), false);
	return XDP_TX;
}

enum floor {
	FLOOR_LRU_HIT,
	FLOOR_LRU_INSERT,
	FLOOR_STATELESS,
	FLOOR_DENSE_HIT,
	FLOOR_DENSE_INSERT,
};

static __always_inline int floor_of(void *l3, void *end, const enum floor floor, const bool v6)
{
	switch (floor) {
	case FLOOR_LRU_HIT:
		return floor_hit(l3, end, v6);
	case FLOOR_LRU_INSERT:
		return floor_miss(l3, end, v6);
	case FLOOR_STATELESS:
		return floor_slot(l3, end, v6);
	case FLOOR_DENSE_HIT:
		return v6 ? floor_fail() : floor_dense_find(l3, end);
	default:
		return v6 ? floor_fail() : floor_dense_store(l3, end);
	}
}

static __always_inline int run_floor(struct xdp_md *ctx, const enum floor floor)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	int verdict;

	if (data + ETH_HLEN + sizeof(struct iphdr) + sizeof(struct tcphdr) > end)
		return floor_fail();
	if (eth->h_proto == bpf_htons(ETH_P_IP))
		verdict = floor_of(eth + 1, end, floor, false);
	else if (eth->h_proto == bpf_htons(ETH_P_IPV6))
		verdict = floor_of(eth + 1, end, floor, true);
	else
		return floor_fail();
	data = (void *)(long)ctx->data;
	if (data + ETH_HLEN > (void *)(long)ctx->data_end)
		return XDP_DROP;
	swap_addresses(data);
	return verdict;
}

SEC("xdp.frags")
int floor_lru_hit(struct xdp_md *ctx)
{
	return run_floor(ctx, FLOOR_LRU_HIT);
}

SEC("xdp.frags")
int floor_lru_insert(struct xdp_md *ctx)
{
	return run_floor(ctx, FLOOR_LRU_INSERT);
}

SEC("xdp.frags")
int floor_stateless(struct xdp_md *ctx)
{
	return run_floor(ctx, FLOOR_STATELESS);
}

SEC("xdp.frags")
int floor_dense_hit(struct xdp_md *ctx)
{
	return run_floor(ctx, FLOOR_DENSE_HIT);
}

SEC("xdp.frags")
int floor_dense_insert(struct xdp_md *ctx)
{
	return run_floor(ctx, FLOOR_DENSE_INSERT);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
