/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A packet as the programs see it: the context layer (all that differs between XDP and tc) and the
 * parser. `program` and `v6` are compile-time constants of always-inlined functions throughout, so
 * each entry point is compiled for one hook and each branch for one family.
 */
#ifndef NT_PACKET_H
#define NT_PACKET_H

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include "count.h"

struct tuple {
	struct nt_addr src;
	struct nt_addr dst;
	nt_port sport;
	nt_port dport;
	__u8 protocol;
};

enum packet_kind {
	PACKET_TRANSPORT = 0, /* TCP or UDP */
	PACKET_ICMP_ERROR,    /* the tuple is that of the packet it quotes */
	PACKET_ECHO,	      /* an echo request; no ports */
	PACKET_TUNNEL,	      /* IP in IP; no ports */
};

enum packet_fragment {
	FRAGMENT_NONE = 0,
	FRAGMENT_FIRST,
	FRAGMENT_LATER, /* without a transport header: its ports are those of the first one */
};

struct packet {
	struct tuple tuple;
	__u32 l3;	       /* offset of the IP header */
	__u32 l4;	       /* offset of the transport header */
	__u32 length;	       /* of the IP packet */
	__u32 segment;	       /* of the IP packets it leaves as: less than `length` for GSO */
	__u32 quoted;	       /* offset of the transport header that an ICMP error quotes */
	__u32 fragment_id;     /* as on the wire */
	__u16 fragment_offset; /* bytes */
	nt_backend_id backend; /* the one it came encapsulated for; 0: none yet */
	__u8 tcp;	       /* flags byte of the TCP header, 0 for all else */
	__u8 hop_limit;
	__u8 kind;     /* enum packet_kind */
	__u8 fragment; /* enum packet_fragment */
	bool v6;
};

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

/* As in linux/icmp.h, which wants the C library, and linux/icmpv6.h. */
struct icmp_header {
	__u8 type;
	__u8 code;
	__sum16 check;
	__be32 rest;
};

#define ICMP_UNREACHABLE       3
#define ICMP_TIME_EXCEEDED     11
#define ICMP_PARAMETER_PROBLEM 12
#define ICMP_ECHO_REQUEST      8
/* ... and 2 packet too big, 3 time exceeded, 4 parameter problem */
#define ICMP6_UNREACHABLE	1
#define ICMP6_PARAMETER_PROBLEM 4
#define ICMP6_ECHO_REQUEST	128

#define VLAN_TAGS_MAX	      2
#define EXTENSION_HEADERS_MAX 6
/* Where a transport header may start at most: keeps offsets bounded for the verifier. */
#define L4_OFFSET_MAX	  255u
#define QUOTED_OFFSET_MAX 511u /* the same for one that an ICMP error quotes */
/* What of a transport header an ICMP error quotes at least (RFC 792): all of UDP, ports of TCP. */
#define QUOTED_TRANSPORT_MIN 8u

static __always_inline bool is_xdp(const __u32 program)
{
	return program == NT_PROGRAM_EXTERNAL_XDP;
}

static __always_inline void *packet_data(void *ctx, const __u32 program)
{
	return is_xdp(program) ? (void *)(long)((struct xdp_md *)ctx)->data
			       : (void *)(long)((struct __sk_buff *)ctx)->data;
}

static __always_inline void *packet_end(void *ctx, const __u32 program)
{
	return is_xdp(program) ? (void *)(long)((struct xdp_md *)ctx)->data_end
			       : (void *)(long)((struct __sk_buff *)ctx)->data_end;
}

/*
 * Whether the packet has at least `size` bytes. XDP asks the helper, at 10 ns, only for what is not
 * in the linear part: a frame in several buffers, or one cut short.
 */
static __always_inline bool packet_holds(void *ctx, __u32 size, const __u32 program)
{
	if (!is_xdp(program))
		return ((struct __sk_buff *)ctx)->len >= size;
	return packet_end(ctx, program) - packet_data(ctx, program) >= size ||
	       bpf_xdp_get_buff_len(ctx) >= size;
}

/* The length of a GSO packet, 0 of any other. */
static __always_inline __u32 packet_gso_length(void *ctx, const __u32 program)
{
	struct __sk_buff *skb = ctx;

	return !is_xdp(program) && skb->gso_size ? skb->len : 0;
}

/* -1 is TC_ACT_UNSPEC and TCX_NEXT alike: programs after ours still run. */
static __always_inline int packet_pass(const __u32 program)
{
	return is_xdp(program) ? XDP_PASS : TC_ACT_UNSPEC;
}

static __always_inline int packet_drop(const __u32 program)
{
	return is_xdp(program) ? XDP_DROP : TC_ACT_SHOT;
}

static __always_inline __u32 packet_device(void *ctx, const __u32 program)
{
	return is_xdp(program) ? ((struct xdp_md *)ctx)->ingress_ifindex
			       : ((struct __sk_buff *)ctx)->ifindex;
}

/* The parser's answers besides a pass counter (>= 0). */
#define PARSED	     -1
#define NEEDS_LINEAR -2 /* headers lie beyond the directly accessible part */

/* What a packet, or one that an ICMP error quotes, says of its fragmentation. */
struct fragmentation {
	__u32 id;
	__u16 offset; /* bytes */
	__u8 kind;    /* enum packet_fragment */
};

static __always_inline void ipv4_fragmentation(const struct iphdr *ip, struct fragmentation *out)
{
	__u16 field = bpf_ntohs(ip->frag_off);

	out->id = ip->id;
	out->offset = (field & 0x1fff) * 8;
	out->kind = out->offset ? FRAGMENT_LATER : field & 0x2000 ? FRAGMENT_FIRST : FRAGMENT_NONE;
}

static __always_inline bool precedes_transport(__u8 header)
{
	return header == IPPROTO_HOPOPTS || header == IPPROTO_ROUTING ||
	       header == IPPROTO_FRAGMENT || header == IPPROTO_DSTOPTS;
}

/*
 * Steps over the IPv6 extension headers that may precede a transport header (RFC 8200 4.1). What
 * follows the fragment header of a later fragment is data, whatever that header calls it.
 */
static __always_inline int skip_extension_headers(void *data, void *end, const __u32 limit,
						  __u32 *offset, __u8 *next,
						  struct fragmentation *fragmentation)
{
	fragmentation->kind = FRAGMENT_NONE;
	/* Unrolled: Linux 6.1 refuses a loop that is entered in its middle. */
#pragma clang loop unroll(full)
	for (int i = 0; i < EXTENSION_HEADERS_MAX; i++) {
		bool fragment = *next == IPPROTO_FRAGMENT;
		__u8 *header;
		__u16 field;

		if (!precedes_transport(*next))
			return PARSED;
		if (*offset > limit)
			return NT_PASS_EXTENSION_HEADERS;
		header = data + *offset;
		if ((void *)(header + 8) > end)
			return NEEDS_LINEAR;
		/* Segments left: the destination is a waypoint, not where the packet is going. */
		if (*next == IPPROTO_ROUTING && header[3])
			return NT_PASS_EXTENSION_HEADERS;
		*next = header[0];
		if (!fragment) {
			*offset += (header[1] + 1u) * 8;
			continue;
		}
		*offset += 8;
		field = bpf_ntohs(*(__be16 *)(header + 2));
		fragmentation->id = *(__be32 *)(header + 4);
		fragmentation->offset = field & ~7;
		if (fragmentation->offset) {
			fragmentation->kind = FRAGMENT_LATER;
			return PARSED;
		}
		/* Without more to come it is a whole packet all the same (RFC 6946). */
		if (field & 1)
			fragmentation->kind = FRAGMENT_FIRST;
	}
	return precedes_transport(*next) ? NT_PASS_EXTENSION_HEADERS : PARSED;
}

static __always_inline void note_fragmentation(struct packet *pkt, const struct fragmentation *f)
{
	pkt->fragment = f->kind;
	pkt->fragment_id = f->kind ? f->id : 0;
	pkt->fragment_offset = f->kind ? f->offset : 0;
}

static __always_inline int parse_ipv4(void *ctx, void *data, void *end, __u32 gso,
				      struct packet *pkt, __u32 *l4_length, const __u32 program)
{
	struct fragmentation fragmentation;
	struct iphdr *ip = data + pkt->l3;
	__u32 header, total;

	if ((void *)(ip + 1) > end)
		return NEEDS_LINEAR;
	header = ip->ihl * 4;
	total = bpf_ntohs(ip->tot_len);
	/* A GSO packet longer than 64 KiB (BIG TCP) has a length of 0 here. */
	if (gso && total == 0)
		total = gso - pkt->l3;
	if (ip->version != 4 || header < sizeof(*ip) || total < header ||
	    !packet_holds(ctx, pkt->l3 + total, program))
		return NT_PASS_MALFORMED;
	ipv4_fragmentation(ip, &fragmentation);
	note_fragmentation(pkt, &fragmentation);
	pkt->tuple.src.w[0] = ip->saddr;
	pkt->tuple.dst.w[0] = ip->daddr;
	pkt->tuple.protocol = ip->protocol;
	pkt->hop_limit = ip->ttl;
	pkt->length = total;
	pkt->l4 = pkt->l3 + header;
	*l4_length = total - header;
	return PARSED;
}

static __always_inline int parse_ipv6(void *ctx, void *data, void *end, __u32 gso,
				      struct packet *pkt, __u32 *l4_length, const __u32 program)
{
	struct ipv6hdr *ip = data + pkt->l3;
	__u32 payload, offset = pkt->l3 + sizeof(*ip);
	struct fragmentation fragmentation;
	__u8 next;
	int answer;

	if ((void *)(ip + 1) > end)
		return NEEDS_LINEAR;
	payload = bpf_ntohs(ip->payload_len);
	if (gso && payload == 0)
		payload = gso - offset;
	if (ip->version != 6 || !packet_holds(ctx, offset + payload, program))
		return NT_PASS_MALFORMED;
	__builtin_memcpy(&pkt->tuple.src, &ip->saddr, sizeof(pkt->tuple.src));
	__builtin_memcpy(&pkt->tuple.dst, &ip->daddr, sizeof(pkt->tuple.dst));
	next = ip->nexthdr;
	pkt->hop_limit = ip->hop_limit;
	payload += offset; /* now the end of the payload */
	pkt->length = payload - pkt->l3;
	answer = skip_extension_headers(data, end, L4_OFFSET_MAX, &offset, &next, &fragmentation);
	if (answer == NEEDS_LINEAR && offset + 8 > payload)
		return NT_PASS_MALFORMED;
	if (answer != PARSED)
		return answer;
	if (offset > payload)
		return NT_PASS_MALFORMED;
	note_fragmentation(pkt, &fragmentation);
	pkt->tuple.protocol = next;
	pkt->l4 = offset;
	*l4_length = payload - offset;
	return PARSED;
}

/* An ICMP error about a packet this node may know; what it quotes comes later (parse_quoted). */
static __always_inline int parse_icmp(void *data, void *end, struct packet *pkt, __u32 l4_length)
{
	struct icmp_header *icmp = data + pkt->l4;

	if (l4_length < sizeof(*icmp))
		return NT_PASS_MALFORMED;
	if ((void *)(icmp + 1) > end)
		return NEEDS_LINEAR;
	if (icmp->type == (pkt->v6 ? ICMP6_ECHO_REQUEST : ICMP_ECHO_REQUEST))
		pkt->kind = PACKET_ECHO;
	else if (pkt->v6 ? icmp->type >= ICMP6_UNREACHABLE && icmp->type <= ICMP6_PARAMETER_PROBLEM
			 : icmp->type == ICMP_UNREACHABLE || icmp->type == ICMP_TIME_EXCEEDED ||
			       icmp->type == ICMP_PARAMETER_PROBLEM)
		pkt->kind = PACKET_ICMP_ERROR;
	else
		return NT_PASS_OTHER_PROTOCOL;
	/* Nobody sends errors that long (RFC 1812 4.3.2.3, RFC 4443 2.4); an echo would have to be
	 * put together. */
	if (pkt->fragment != FRAGMENT_NONE)
		return NT_PASS_FRAGMENT;
	return PARSED;
}

static __always_inline int parse_transport(void *data, void *end, __u32 gso, struct packet *pkt,
					   __u32 l4_length)
{
	if (pkt->l4 > L4_OFFSET_MAX)
		return NT_PASS_EXTENSION_HEADERS;
	if (pkt->fragment == FRAGMENT_LATER)
		return PARSED;
	if (pkt->tuple.protocol == IPPROTO_TCP) {
		struct tcphdr *tcp = data + pkt->l4;
		__u32 header;

		if (l4_length < sizeof(*tcp))
			return NT_PASS_MALFORMED;
		if ((void *)(tcp + 1) > end)
			return NEEDS_LINEAR;
		header = tcp->doff * 4;
		if (header < sizeof(*tcp) || header > l4_length)
			return NT_PASS_MALFORMED;
		pkt->tuple.sport = tcp->source;
		pkt->tuple.dport = tcp->dest;
		pkt->tcp = ((__u8 *)tcp)[13];
		return PARSED;
	}
	if (pkt->tuple.protocol == IPPROTO_UDP) {
		struct udphdr *udp = data + pkt->l4;
		__u32 size;

		if (l4_length < sizeof(*udp))
			return NT_PASS_MALFORMED;
		if ((void *)(udp + 1) > end)
			return NEEDS_LINEAR;
		size = bpf_ntohs(udp->len);
		if (size < sizeof(*udp) ||
		    (!gso && pkt->fragment == FRAGMENT_NONE && size > l4_length))
			return NT_PASS_MALFORMED;
		pkt->tuple.sport = udp->source;
		pkt->tuple.dport = udp->dest;
		pkt->tcp = 0;
		return PARSED;
	}
	if (pkt->tuple.protocol == (pkt->v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP))
		return parse_icmp(data, end, pkt, l4_length);
	if (pkt->tuple.protocol == (pkt->v6 ? IPPROTO_IPV6 : IPPROTO_IPIP)) {
		/* Nothing can be taken out of a part of it. */
		if (pkt->fragment != FRAGMENT_NONE)
			return NT_PASS_FRAGMENT;
		pkt->kind = PACKET_TUNNEL;
		return PARSED;
	}
	return NT_PASS_OTHER_PROTOCOL;
}

/*
 * Generic XDP may move a packet to a new skb, to make room before it. That skb's mac_len is 0, so
 * tc sees the packet from its IP header on (skb_pp_cow_data in net/core/skbuff.c, seen in
 * Linux 6.18).
 */
static __always_inline bool lacks_link_header(void *ctx, const __u8 *data, __be16 type,
					      const __u32 program)
{
	__be16 protocol;

	if (is_xdp(program))
		return false;
	protocol = ((struct __sk_buff *)ctx)->protocol;
	return type != protocol && ((protocol == bpf_htons(ETH_P_IP) && data[0] >> 4 == 4) ||
				    (protocol == bpf_htons(ETH_P_IPV6) && data[0] >> 4 == 6));
}

/* The IP length of the packets a GSO packet is cut into (gso_size is that of their payload). */
static __always_inline __u32 gso_segment(struct __sk_buff *skb, void *data, void *end,
					 const struct packet *pkt)
{
	__u32 header = sizeof(struct udphdr);

	if (pkt->tuple.protocol == IPPROTO_TCP) {
		struct tcphdr *tcp = data + (pkt->l4 & L4_OFFSET_MAX);

		if ((void *)(tcp + 1) > end)
			return pkt->length;
		header = tcp->doff * 4;
	}
	return pkt->l4 - pkt->l3 + header + skb->gso_size;
}

static __always_inline int parse_once(void *ctx, struct packet *pkt, const __u32 program)
{
	void *data = packet_data(ctx, program);
	void *end = packet_end(ctx, program);
	__u32 gso = packet_gso_length(ctx, program);
	struct ethhdr *eth = data;
	__u32 l3 = sizeof(*eth), l4_length;
	__be16 type;
	int answer;

	if ((void *)(eth + 1) > end)
		return NT_PASS_NOT_IP;
	type = eth->h_proto;
	if (lacks_link_header(ctx, data, type, program)) {
		type = ((struct __sk_buff *)ctx)->protocol;
		l3 = 0;
	}
	for (int i = 0; i < VLAN_TAGS_MAX; i++) {
		__be16 *tag = data + l3;

		if (type != bpf_htons(ETH_P_8021Q) && type != bpf_htons(ETH_P_8021AD))
			break;
		if ((void *)(tag + 2) > end)
			return NT_PASS_NOT_IP;
		type = tag[1];
		l3 += 4;
	}
	pkt->l3 = l3;
	if (type == bpf_htons(ETH_P_IP)) {
		pkt->v6 = false;
		answer = parse_ipv4(ctx, data, end, gso, pkt, &l4_length, program);
	} else if (type == bpf_htons(ETH_P_IPV6)) {
		pkt->v6 = true;
		answer = parse_ipv6(ctx, data, end, gso, pkt, &l4_length, program);
	} else {
		return NT_PASS_NOT_IP;
	}
	if (answer != PARSED)
		return answer;
	pkt->segment = pkt->length;
	answer = parse_transport(data, end, gso, pkt, l4_length);
	if (gso && answer == PARSED)
		pkt->segment = gso_segment(ctx, data, end, pkt);
	return answer;
}

/* The headers of the quoted packet, whose IP header begins at `l3`; `limit` is the quote's end. */
static __always_inline int quoted_ipv4(void *data, void *end, __u32 l3, __u32 limit,
				       struct packet *pkt, struct fragmentation *fragmentation)
{
	struct iphdr *ip = data + l3;
	__u32 header;

	if (l3 + sizeof(*ip) > limit)
		return NT_PASS_MALFORMED;
	if ((void *)(ip + 1) > end)
		return NEEDS_LINEAR;
	header = ip->ihl * 4;
	if (ip->version != 4 || header < sizeof(*ip) ||
	    bpf_ntohs(ip->tot_len) < header + QUOTED_TRANSPORT_MIN)
		return NT_PASS_MALFORMED;
	ipv4_fragmentation(ip, fragmentation);
	pkt->tuple.src.w[0] = ip->saddr;
	pkt->tuple.dst.w[0] = ip->daddr;
	pkt->tuple.protocol = ip->protocol;
	pkt->quoted = l3 + header;
	return PARSED;
}

static __always_inline int quoted_ipv6(void *data, void *end, __u32 l3, __u32 limit,
				       struct packet *pkt, struct fragmentation *fragmentation)
{
	struct ipv6hdr *ip = data + l3;
	__u32 offset = l3 + sizeof(*ip), length;
	int answer;

	if (offset > limit)
		return NT_PASS_MALFORMED;
	if ((void *)(ip + 1) > end)
		return NEEDS_LINEAR;
	length = offset + bpf_ntohs(ip->payload_len);
	if (ip->version != 6)
		return NT_PASS_MALFORMED;
	__builtin_memcpy(&pkt->tuple.src, &ip->saddr, sizeof(pkt->tuple.src));
	__builtin_memcpy(&pkt->tuple.dst, &ip->daddr, sizeof(pkt->tuple.dst));
	pkt->tuple.protocol = ip->nexthdr;
	answer = skip_extension_headers(data, end, QUOTED_OFFSET_MAX, &offset, &pkt->tuple.protocol,
					fragmentation);
	if (answer == NEEDS_LINEAR && offset + 8 > limit)
		return NT_PASS_MALFORMED;
	if (answer != PARSED)
		return answer;
	if (offset + QUOTED_TRANSPORT_MIN > length)
		return NT_PASS_MALFORMED;
	pkt->quoted = offset;
	return PARSED;
}

static __always_inline int quoted_once(void *ctx, struct packet *pkt, const __u32 program)
{
	void *data = packet_data(ctx, program);
	void *end = packet_end(ctx, program);
	__u32 l3 = (pkt->l4 & L4_OFFSET_MAX) + sizeof(struct icmp_header),
	      limit = pkt->l3 + pkt->length;
	struct fragmentation fragmentation = {};
	nt_port *ports;
	int answer;

	answer = pkt->v6 ? quoted_ipv6(data, end, l3, limit, pkt, &fragmentation)
			 : quoted_ipv4(data, end, l3, limit, pkt, &fragmentation);
	if (answer != PARSED)
		return answer;
	/* There are no ports in it to know its flow by. */
	if (fragmentation.kind == FRAGMENT_LATER ||
	    (pkt->tuple.protocol != IPPROTO_TCP && pkt->tuple.protocol != IPPROTO_UDP))
		return NT_PASS_NOT_SERVICE;
	if (pkt->quoted + QUOTED_TRANSPORT_MIN > limit)
		return NT_PASS_MALFORMED;
	if (pkt->quoted > QUOTED_OFFSET_MAX)
		return NT_PASS_EXTENSION_HEADERS;
	ports = data + pkt->quoted;
	if ((void *)(ports + 2) > end)
		return NEEDS_LINEAR;
	pkt->tuple.sport = ports[0];
	pkt->tuple.dport = ports[1];
	return PARSED;
}

/*
 * Global functions, which the verifier takes by themselves: what follows a parse is then walked
 * once, and not once for each shape a packet can have. Linux 6.1 would give up otherwise.
 */
__noinline int parse_xdp(struct xdp_md *ctx, struct packet *pkt)
{
	return pkt ? parse_once(ctx, pkt, NT_PROGRAM_EXTERNAL_XDP) : NT_PASS_MALFORMED;
}

__noinline int parse_skb(struct __sk_buff *ctx, struct packet *pkt)
{
	return pkt ? parse_once(ctx, pkt, NT_PROGRAM_EXTERNAL_INGRESS) : NT_PASS_MALFORMED;
}

__noinline int parse_quoted_xdp(struct xdp_md *ctx, struct packet *pkt)
{
	return pkt ? quoted_once(ctx, pkt, NT_PROGRAM_EXTERNAL_XDP) : NT_PASS_MALFORMED;
}

__noinline int parse_quoted_skb(struct __sk_buff *ctx, struct packet *pkt)
{
	return pkt ? quoted_once(ctx, pkt, NT_PROGRAM_EXTERNAL_INGRESS) : NT_PASS_MALFORMED;
}

/* Makes all headers that are looked at directly accessible. */
static __always_inline int pull_headers(struct __sk_buff *skb)
{
	const __u32 wanted = QUOTED_OFFSET_MAX + sizeof(struct tcphdr);

	return bpf_skb_pull_data(skb, skb->len < wanted ? skb->len : wanted);
}

static __always_inline int parse_headers(void *ctx, struct packet *pkt, const __u32 program)
{
	int answer = is_xdp(program) ? parse_xdp(ctx, pkt) : parse_skb(ctx, pkt);

	if (answer == PARSED && pkt->kind == PACKET_ICMP_ERROR)
		return is_xdp(program) ? parse_quoted_xdp(ctx, pkt) : parse_quoted_skb(ctx, pkt);
	return answer;
}

/* Fills in `pkt`; PARSED, or the counter of the reason to pass the packet on untouched. */
static __always_inline int parse(void *ctx, struct packet *pkt, const __u32 program)
{
	int answer = parse_headers(ctx, pkt, program);

	if (answer == NEEDS_LINEAR && !is_xdp(program) && !pull_headers(ctx)) {
		pkt->kind = PACKET_TRANSPORT;
		answer = parse_headers(ctx, pkt, program);
	}
	return answer == NEEDS_LINEAR ? NT_PASS_MALFORMED : answer;
}

#endif
