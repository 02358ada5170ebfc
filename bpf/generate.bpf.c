/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Packets for the benchmark: programs that make live frames of BPF_PROG_TEST_RUN the packets of a
 * client, and those that take them, and what comes back, at the ends.
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

#include "abi/bench/generate.h"

static const __u32 zero;

/* The port of the backends; the loader sets it. */
const volatile __u16 backend_port = 8080;

/* Whether the backend answers SYNs. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} answering SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct nt_generator);
} generator SEC(".maps");

/* What arrived: at the backend with its port as the destination, at the client answers to SYNs. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, NT_SINKS);
	__type(key, __u32);
	__type(value, __u64);
} sink SEC(".maps");

static __always_inline __u16 fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

/* ---- the client's end: making frames ---- */

/*
 * All of the frame is written: the kernel hands out the same pages again and again, and by then the
 * node has been at them.
 */
static __always_inline int generate(struct xdp_md *ctx, const bool v6)
{
	const __u32 size = v6 ? NT_GENERATED_FRAME6 : NT_GENERATED_FRAME4;
	const __u32 tcp_offset = ETH_HLEN + (v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));
	struct nt_generator *g = bpf_map_lookup_elem(&generator, &zero);
	void *data = (void *)(long)ctx->data;
	__u64 *words = data;
	struct tcphdr *tcp = data + tcp_offset;
	__be16 *address;
	__u16 before;
	__u64 flow;
	__be16 low;
	__u64 sum;

	if (!g || data + size > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	flow = (g->next++ * g->stride) & g->mask;
	low = bpf_htons(flow & 0xffff);
#pragma clang loop unroll(full)
	for (__u32 i = 0; i < size / 8; i++)
		words[i] = g->frame[i];
	/* The low bits of a client's address are 0 in the template. */
	if (v6) {
		struct ipv6hdr *ip = data + ETH_HLEN;

		address = (void *)&ip->saddr + 14;
	} else {
		struct iphdr *ip = data + ETH_HLEN;

		address = (void *)&ip->saddr + 2;
		ip->check = ~fold((__u64)(__u16)~ip->check + low);
	}
	*address = low;
	before = tcp->source;
	tcp->source = bpf_htons(bpf_ntohs(before) + (__u16)(flow >> 16));
	/* RFC 1624. */
	sum = (__u64)(__u16)~tcp->check + low + (__u16)~before + tcp->source;
	tcp->check = ~fold(sum);
	return g->device ? bpf_redirect(g->device, 0) : XDP_DROP;
}

SEC("xdp")
int generate4(struct xdp_md *ctx)
{
	return generate(ctx, false);
}

SEC("xdp")
int generate6(struct xdp_md *ctx)
{
	return generate(ctx, true);
}

/* ---- both ends: taking them ---- */

static __always_inline void swap_halves(__u16 *words, __u32 distance, __u32 count)
{
#pragma clang loop unroll(full)
	for (__u32 i = 0; i < count; i++) {
		__u16 word = words[i];

		words[i] = words[i + distance];
		words[i + distance] = word;
	}
}

static __always_inline int answer(struct __sk_buff *ctx, const bool v6)
{
	const __u32 l4 = ETH_HLEN + (v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));
	void *data = (void *)(long)ctx->data;
	struct tcphdr *tcp = data + l4;
	__u16 *flags = (__u16 *)tcp + 6;
	__u16 before = *flags;
	__be32 ack = bpf_htonl(bpf_ntohl(tcp->seq) + 1);
	__u64 sum = (__u16)~tcp->check;

	/* What is only swapped leaves the checksum as it is; the acknowledgment was 0. */
	swap_halves(data, 3, 3);
	if (v6)
		swap_halves(data + ETH_HLEN + offsetof(struct ipv6hdr, saddr), 8, 8);
	else
		swap_halves(data + ETH_HLEN + offsetof(struct iphdr, saddr), 2, 2);
	swap_halves((__u16 *)tcp, 1, 1);
	sum += (__u16) ~(tcp->ack_seq & 0xffff) + (__u16) ~(tcp->ack_seq >> 16);
	tcp->ack_seq = ack;
	tcp->ack = 1;
	sum += (ack & 0xffff) + (ack >> 16) + (__u16)~before + *flags;
	tcp->check = ~fold(sum);
	return bpf_redirect(ctx->ifindex, 0);
}

/* Segments go no further, and are counted if they are what is waited for; whatever else there is on
 * a network passes. */
static __always_inline int take(struct __sk_buff *ctx, const __u32 which, const bool v6)
{
	const __u32 l4 = ETH_HLEN + (v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));
	__u64 *count = bpf_map_lookup_elem(&sink, &which);
	__u32 *answers = bpf_map_lookup_elem(&answering, &zero);
	struct iphdr *ip4;
	struct ipv6hdr *ip6;
	struct tcphdr *tcp;

	if (!count || !answers || bpf_skb_pull_data(ctx, l4 + sizeof(*tcp)))
		return TC_ACT_OK;
	ip4 = (void *)(long)ctx->data + ETH_HLEN;
	ip6 = (void *)ip4;
	tcp = (void *)(long)ctx->data + l4;
	if ((void *)(tcp + 1) > (void *)(long)ctx->data_end)
		return TC_ACT_OK;
	if ((v6 ? ip6->nexthdr : ip4->protocol) != IPPROTO_TCP)
		return TC_ACT_OK;
	if (which == NT_SINK_CLIENT ? !tcp->syn || !tcp->ack : tcp->dest != bpf_htons(backend_port))
		return TC_ACT_SHOT;
	(*count)++;
	if (which == NT_SINK_CLIENT || !tcp->syn || tcp->ack || !*answers)
		return TC_ACT_SHOT;
	return answer(ctx, v6);
}

static __always_inline int take_either(struct __sk_buff *ctx, const __u32 which)
{
	switch (ctx->protocol) {
	case bpf_htons(ETH_P_IP):
		return take(ctx, which, false);
	case bpf_htons(ETH_P_IPV6):
		return take(ctx, which, true);
	default:
		return TC_ACT_OK;
	}
}

SEC("tc")
int take_at_backend(struct __sk_buff *ctx)
{
	return take_either(ctx, NT_SINK_BACKEND);
}

SEC("tc")
int take_at_client(struct __sk_buff *ctx)
{
	return take_either(ctx, NT_SINK_CLIENT);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
