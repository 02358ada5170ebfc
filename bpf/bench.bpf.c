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

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} bench_xdp SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} bench_tc SEC(".maps");

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

/*
 * Writes the headers. Stores have the widths in which the programs load, or larger ones: a load
 * that needs two stores still in flight waits for both, which no packet from a device makes it do.
 */
static __always_inline bool restore(void *data, void *end, const bool v6)
{
	const __u32 words = v6 ? NT_BENCH_WORDS6 : NT_BENCH_WORDS4;
	const __u32 src = v6 ? 5 : 3, dst = v6 ? 9 : 4, ports = v6 ? 10 : 5;
	const __u32 tcp_check = ETH_HLEN + ports * 4 + offsetof(struct tcphdr, check);
	struct nt_bench_case *c = the_case();
	__u16 *ethernet = data;
	__be32 *header = data + ETH_HLEN;
	__u64 flow;
	__be16 address, port;

	if (!c || (void *)(header + words) > end)
		return false;
	flow = (c->next++ * c->stride) & c->mask;
	address = bpf_htons(flow & 0xffff);
	port = bpf_htons(NT_BENCH_FIRST_PORT + (flow >> 16));

#pragma clang loop unroll(full)
	for (__u32 i = 0; i < ETH_HLEN / 2; i++)
		ethernet[i] = c->ethernet[i];
#pragma clang loop unroll(full)
	for (__u32 i = 0; i < words; i++)
		header[i] = c->words[i];
	if (c->client_is_destination) {
		header[dst] = c->words[dst] | bpf_htonl(flow & 0xffff);
		header[ports] = c->words[ports] | bpf_htonl(bpf_ntohs(port));
	} else {
		header[src] = c->words[src] | bpf_htonl(flow & 0xffff);
		header[ports] = c->words[ports] | bpf_htonl((__u32)bpf_ntohs(port) << 16);
	}
	if (!v6)
		*(__u16 *)(data + ETH_HLEN + offsetof(struct iphdr, check)) =
		    ~fold((__u64)c->ip_sum + address);
	*(__u16 *)(data + tcp_check) = ~fold((__u64)c->tcp_sum + address + port);
	return true;
}

static __always_inline int restore_xdp(struct xdp_md *ctx, const bool v6)
{
	if (restore((void *)(long)ctx->data, (void *)(long)ctx->data_end, v6))
		bpf_tail_call_static(ctx, &bench_xdp, NT_BENCH_TARGET);
	return XDP_ABORTED;
}

static __always_inline int restore_tc(struct __sk_buff *ctx, const bool v6)
{
	if (restore((void *)(long)ctx->data, (void *)(long)ctx->data_end, v6))
		bpf_tail_call_static(ctx, &bench_tc, NT_BENCH_TARGET);
	return TC_ACT_SHOT;
}

/* "frags" as the datapath has it: the kernel tail-calls only between programs that agree on it. */
SEC("xdp.frags")
int wrap_xdp4(struct xdp_md *ctx)
{
	return restore_xdp(ctx, false);
}

SEC("xdp.frags")
int wrap_xdp6(struct xdp_md *ctx)
{
	return restore_xdp(ctx, true);
}

SEC("tc")
int wrap_tc4(struct __sk_buff *ctx)
{
	return restore_tc(ctx, false);
}

SEC("tc")
int wrap_tc6(struct __sk_buff *ctx)
{
	return restore_tc(ctx, true);
}

SEC("xdp.frags")
int empty_xdp(struct xdp_md *ctx __attribute__((unused)))
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

static __always_inline int floor_lru(struct xdp_md *ctx, const bool insert)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	int verdict;

	if (data + ETH_HLEN + sizeof(struct iphdr) + sizeof(struct tcphdr) > end)
		return floor_fail();
	if (eth->h_proto == bpf_htons(ETH_P_IP))
		verdict = insert ? floor_miss(eth + 1, end, false) : floor_hit(eth + 1, end, false);
	else if (eth->h_proto == bpf_htons(ETH_P_IPV6))
		verdict = insert ? floor_miss(eth + 1, end, true) : floor_hit(eth + 1, end, true);
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
	return floor_lru(ctx, false);
}

SEC("xdp.frags")
int floor_lru_insert(struct xdp_md *ctx)
{
	return floor_lru(ctx, true);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
