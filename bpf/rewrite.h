/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Puts a new tuple into a packet and keeps its checksums right (RFC 1624, incrementally). */
#ifndef NT_REWRITE_H
#define NT_REWRITE_H

#include "packet.h"

/* Kernel 6.16 (and stables): the address change of an IPv6 packet cancels out in CHECKSUM_COMPLETE.
 */
#ifndef BPF_F_IPV6
#define BPF_F_IPV6 (1ULL << 7)
#endif

static __always_inline __u32 words(const bool v6)
{
	return v6 ? 4 : 1;
}

/* One's complement sum of a replacement: - before + after. */
static __always_inline __u64 sum_replaced(__u64 sum, __u32 before, __u32 after)
{
	return sum + (__u32)~before + after;
}

static __always_inline __u32 fold32(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	return (sum & 0xffffffff) + (sum >> 32);
}

static __always_inline __u16 fold16(__u64 sum)
{
	sum = fold32(sum);
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

static __always_inline void replace_checksum(__sum16 *field, __u64 difference)
{
	*field = ~fold16((__u16) ~*field + (__u64)fold32(difference));
}

static __always_inline __u32 port_word(const struct tuple *t)
{
	return (__u32)t->sport << 16 | t->dport;
}

/*
 * The skb helper knows what the device and the stack expect of this packet's checksum: for
 * CHECKSUM_PARTIAL only the pseudo header counts, hence addresses and ports separately.
 */
static __always_inline int replace_skb_checksum(void *ctx, __u32 offset, __u64 addresses,
						__u64 ports, __u64 flags, const bool v6)
{
	int err;

	if (ports && bpf_l4_csum_replace(ctx, offset, 0, fold32(ports), flags))
		return -1;
	if (!addresses)
		return 0;
	flags |= BPF_F_PSEUDO_HDR;
	err =
	    bpf_l4_csum_replace(ctx, offset, 0, fold32(addresses), v6 ? flags | BPF_F_IPV6 : flags);
	if (v6 && err == -22 /* EINVAL: a kernel without the flag */)
		err = bpf_l4_csum_replace(ctx, offset, 0, fold32(addresses), flags);
	return err;
}

static __always_inline __u64 rewrite_addresses(void *l3, const struct tuple *from,
					       const struct tuple *to, const bool v6)
{
	__be32 *src, *dst;
	__u64 sum = 0;

	if (v6) {
		src = ((struct ipv6hdr *)l3)->saddr.in6_u.u6_addr32;
		dst = ((struct ipv6hdr *)l3)->daddr.in6_u.u6_addr32;
	} else {
		src = &((struct iphdr *)l3)->saddr;
		dst = &((struct iphdr *)l3)->daddr;
	}
	for (__u32 i = 0; i < words(v6); i++) {
		sum = sum_replaced(sum, from->src.w[i], to->src.w[i]);
		sum = sum_replaced(sum, from->dst.w[i], to->dst.w[i]);
		src[i] = to->src.w[i];
		dst[i] = to->dst.w[i];
	}
	if (!v6)
		replace_checksum(&((struct iphdr *)l3)->check, sum);
	return sum;
}

/* Changes addresses and ports of the parsed packet to `to`. 0, or -1 with the packet to be dropped.
 */
static __always_inline int rewrite(void *ctx, const struct packet *pkt, const struct tuple *to,
				   const __u32 program, const bool v6)
{
	void *data = packet_data(ctx, program);
	void *end = packet_end(ctx, program);
	__u32 l3 = pkt->l3 & L4_OFFSET_MAX, l4 = pkt->l4 & L4_OFFSET_MAX;
	bool udp = pkt->tuple.protocol == IPPROTO_UDP;
	__u32 check = udp ? offsetof(struct udphdr, check) : offsetof(struct tcphdr, check);
	__u64 addresses, ports;
	__sum16 *field;
	nt_port *port;

	/* The verifier needs the bounds anew: pointers do not survive the helpers called since. */
	if (data + l3 + (v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr)) > end)
		return -1;
	if (pkt->fragment == FRAGMENT_LATER) {
		/* The checksum over addresses and ports is in the first fragment. So nothing in an
		 * IPv6 packet makes up for the change, and a sum over all of it must be told. */
		addresses = rewrite_addresses(data + l3, &pkt->tuple, to, v6);
		if (v6 && !is_xdp(program))
			bpf_csum_update(ctx, fold32(addresses));
		return 0;
	}
	port = data + l4;
	field = data + l4 + check;
	if ((void *)(port + 2) > end || (void *)(field + 1) > end)
		return -1;
	addresses = rewrite_addresses(data + l3, &pkt->tuple, to, v6);
	ports = sum_replaced(0, port_word(&pkt->tuple), port_word(to));
	port[0] = to->sport;
	port[1] = to->dport;
	/* UDP without a checksum (RFC 768; in IPv6 for tunnels, RFC 6935) stays without one. */
	if (udp && !*field)
		return 0;
	if (!is_xdp(program))
		return replace_skb_checksum(ctx, l4 + check, addresses, ports,
					    udp ? BPF_F_MARK_MANGLED_0 : 0, v6);
	replace_checksum(field, addresses + ports);
	if (udp && !*field)
		*field = 0xffff;
	return 0;
}

/* The same as global functions, for where the stack has no room for it. */
__noinline int rewrite4_xdp(struct xdp_md *ctx, struct packet *pkt, struct tuple *to)
{
	return pkt && to ? rewrite(ctx, pkt, to, NT_PROGRAM_EXTERNAL_XDP, false) : -1;
}

__noinline int rewrite6_xdp(struct xdp_md *ctx, struct packet *pkt, struct tuple *to)
{
	return pkt && to ? rewrite(ctx, pkt, to, NT_PROGRAM_EXTERNAL_XDP, true) : -1;
}

__noinline int rewrite4_skb(struct __sk_buff *ctx, struct packet *pkt, struct tuple *to)
{
	return pkt && to ? rewrite(ctx, pkt, to, NT_PROGRAM_EXTERNAL_INGRESS, false) : -1;
}

__noinline int rewrite6_skb(struct __sk_buff *ctx, struct packet *pkt, struct tuple *to)
{
	return pkt && to ? rewrite(ctx, pkt, to, NT_PROGRAM_EXTERNAL_INGRESS, true) : -1;
}

static __always_inline int rewrite_cold(void *ctx, struct packet *pkt, struct tuple *to,
					const __u32 program, const bool v6)
{
	if (is_xdp(program))
		return v6 ? rewrite6_xdp(ctx, pkt, to) : rewrite4_xdp(ctx, pkt, to);
	return v6 ? rewrite6_skb(ctx, pkt, to) : rewrite4_skb(ctx, pkt, to);
}

#endif
