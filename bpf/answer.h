/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Packets that the programs answer themselves, instead of forwarding them: refusals, hop limits
 * used up, packets too big, echo requests. The answer replaces the packet and goes back by the
 * device that the packet came by, with the MAC addresses swapped.
 */
#ifndef NT_ANSWER_H
#define NT_ANSWER_H

#include <linux/icmpv6.h>

#include "rewrite.h"

enum answer {
	ANSWER_REFUSE,	      /* RST for TCP, ICMP port unreachable otherwise */
	ANSWER_TIME_EXCEEDED, /* the hop limit is used up */
	ANSWER_TOO_BIG,
	ANSWER_ECHO,
};

/* As in linux/icmp.h, which needs a C library. */
#define ICMP_ECHOREPLY	   0
#define ICMP_DEST_UNREACH  3
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PORT_UNREACH  3
#define ICMP_FRAG_NEEDED   4

#define ANSWER_HOP_LIMIT 64
/* With the headers before it, an IPv4 answer fits the 576 bytes that every host takes (RFC 1122
 * 3.2.2). */
#define ANSWER_QUOTE_MAX 512u
#define ANSWER_LINK_MAX	 (sizeof(struct ethhdr) + VLAN_TAGS_MAX * 4)
#define ANSWER_SIZE_MAX	 (8 + ANSWER_QUOTE_MAX)
/* The precedence of ICMP errors (RFC 1812 4.3.2.5), as Linux sends them. */
#define ANSWER_TOS 0xc0

/* Not to be answered, and not worth a counter: why the packet is dropped has been counted. */
#define ANSWER_NONE -1

/*
 * Where an answer is made: the headers end where the next one begins, whatever their length, so
 * that all but the link header and IPv4's are at fixed places. An echo request is changed in it
 * from its link header up to its checksum.
 */
struct answer_frame {
	__u8 link[24];
	__u8 ip[sizeof(struct ipv6hdr)];
	__u8 icmp[8]; /* or where TCP begins */
	/* The last few bytes are there for the verifier, which adds up what cannot come together.
	 */
	__u8 quote[ANSWER_QUOTE_MAX + 16];
	__u32 size; /* of what comes after the IP header */
	__u32 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct answer_frame);
} nt_answer_frame SEC(".maps");

/* Whether this program can send an answer; if not, tc does it all. */
static __always_inline bool can_answer(void *ctx, const __u32 program)
{
	__u32 ifindex = packet_device(ctx, program);
	struct nt_device *device;

	if (!is_xdp(program))
		return true;
	device = bpf_map_lookup_elem(&nt_devices, &ifindex);
	return device && device->flags & NT_DEVICE_XDP;
}

static __always_inline long load_bytes(void *ctx, __u32 offset, void *to, __u32 size,
				       const __u32 program)
{
	return is_xdp(program) ? bpf_xdp_load_bytes(ctx, offset, to, size)
			       : bpf_skb_load_bytes(ctx, offset, to, size);
}

static __always_inline long store_bytes(void *ctx, __u32 offset, void *from, __u32 size,
					const __u32 program)
{
	return is_xdp(program) ? bpf_xdp_store_bytes(ctx, offset, from, size)
			       : bpf_skb_store_bytes(ctx, offset, from, size,
						     BPF_F_RECOMPUTE_CSUM | BPF_F_INVALIDATE_HASH);
}

/* Whether answers may be sent to this address (RFC 1122 3.2.2, RFC 4443 2.4 e). */
static __always_inline bool answerable_address(const __be32 *address, const bool v6)
{
	__u32 first = bpf_ntohl(address[0]);

	if (v6)
		return first >> 24 != 0xff &&
		       (address[0] || address[1] || address[2] || bpf_ntohl(address[3]) > 1);
	return first && first >> 24 != 127 && first >> 28 != 0xe && first != 0xffffffff;
}

static __always_inline bool answerable(const struct packet *pkt, const enum answer what,
				       const bool v6)
{
	if (!answerable_address(pkt->tuple.src.w, v6) || pkt->fragment == FRAGMENT_LATER)
		return false;
	if (what == ANSWER_ECHO)
		return pkt->fragment == FRAGMENT_NONE;
	return pkt->kind != PACKET_ICMP_ERROR && !(what == ANSWER_REFUSE && pkt->tcp & TCP_RST);
}

/* Whether the frame was for more than one receiver. */
static __always_inline bool sent_to_many(void *ctx, const __u32 program)
{
	struct ethhdr *eth = packet_data(ctx, program);
	__u32 type;

	if (is_xdp(program))
		return (void *)(eth + 1) > packet_end(ctx, program) || eth->h_dest[0] & 1;
	/* Also of an skb without a link header. */
	type = ((struct __sk_buff *)ctx)->pkt_type;
	return type == 1 || type == 2; /* PACKET_BROADCAST, PACKET_MULTICAST */
}

/*
 * Whether the source has been told often enough in this tick. Packets that race to be the first may
 * be counted as one.
 */
static __always_inline bool answer_limited(const struct packet *pkt)
{
	struct answer_count first = {.tick = tick(), .count = 1};
	/* Linux 6.1 takes no key from an argument of a global function. */
	struct nt_addr source = pkt->tuple.src;
	struct answer_count *told;

	if (nt_config.tracing)
		return false;
	if (!nt_config.answer_limit)
		return true;
	told = bpf_map_lookup_elem(&nt_answers, &source);
	if (!told) {
		bpf_map_update_elem(&nt_answers, &source, &first, BPF_ANY);
		return false;
	}
	if (told->tick != first.tick) {
		*told = first;
		return false;
	}
	if (told->count >= nt_config.answer_limit)
		return true;
	__sync_fetch_and_add(&told->count, 1);
	return false;
}

/* The sum of `size` bytes, an even number of 16-bit words; for short headers. */
static __always_inline __u64 sum_words(const void *data, const __u32 size)
{
	const __u32 *word = data;
	__u64 sum = 0;

	for (__u32 i = 0; i < size / 4; i++)
		sum += word[i];
	return sum;
}

/* The sum of the pseudo header, of the addresses of the IP header of `frame`. */
static __always_inline __u64 pseudo_header(const struct answer_frame *frame, __u8 protocol,
					   const bool v6)
{
	return sum_words(frame->ip + sizeof(frame->ip) - (v6 ? 32 : 8), v6 ? 32 : 8) +
	       bpf_htonl(frame->size) + bpf_htonl(protocol);
}

static __always_inline void swap_link_addresses(struct ethhdr *eth)
{
	__u8 address[ETH_ALEN];

	__builtin_memcpy(address, eth->h_dest, ETH_ALEN);
	__builtin_memcpy(eth->h_dest, eth->h_source, ETH_ALEN);
	__builtin_memcpy(eth->h_source, address, ETH_ALEN);
}

/* The IP header of an answer of frame->size bytes, from `source` to where the packet is from. */
static __always_inline void answer_header(struct answer_frame *frame, const struct packet *pkt,
					  const __be32 *source, __u8 protocol, const bool v6)
{
	if (v6) {
		struct ipv6hdr *ip = (void *)frame->ip;

		__builtin_memset(ip, 0, sizeof(*ip));
		ip->version = 6;
		ip->payload_len = bpf_htons(frame->size);
		ip->nexthdr = protocol;
		ip->hop_limit = ANSWER_HOP_LIMIT;
		__builtin_memcpy(&ip->saddr, source, sizeof(ip->saddr));
		__builtin_memcpy(&ip->daddr, &pkt->tuple.src, sizeof(ip->daddr));
	} else {
		struct iphdr *ip = (void *)frame->ip + sizeof(frame->ip) - sizeof(*ip);

		__builtin_memset(ip, 0, sizeof(*ip));
		ip->version = 4;
		ip->ihl = sizeof(*ip) / 4;
		ip->tot_len = bpf_htons(sizeof(*ip) + frame->size);
		ip->ttl = ANSWER_HOP_LIMIT;
		ip->protocol = protocol;
		ip->saddr = source[0];
		ip->daddr = pkt->tuple.src.w[0];
		/* Never fragmented, a reset needs no identification (RFC 6864 4.1); an ICMP error
		 * has to arrive by a path whose MTU is not known yet, too. */
		if (protocol == IPPROTO_TCP)
			ip->frag_off = bpf_htons(0x4000);
		else
			ip->tos = ANSWER_TOS;
		ip->check = ~fold16(sum_words(ip, sizeof(*ip)));
	}
}

/* The reset that refuses a segment (RFC 9293 3.5.2). */
static __always_inline int build_reset(void *ctx, struct answer_frame *frame,
				       const struct packet *pkt, const __u32 program, const bool v6)
{
	struct tcphdr *tcp = (void *)frame->icmp;
	struct tcphdr theirs;
	__u32 size;

	if (load_bytes(ctx, pkt->l4, &theirs, sizeof(theirs), program))
		return NT_DROP_REWRITE;
	frame->size = sizeof(*tcp);
	answer_header(frame, pkt, pkt->tuple.dst.w, IPPROTO_TCP, v6);
	__builtin_memset(tcp, 0, sizeof(*tcp));
	tcp->source = theirs.dest;
	tcp->dest = theirs.source;
	tcp->doff = sizeof(*tcp) / 4;
	tcp->rst = 1;
	if (theirs.ack) {
		tcp->seq = theirs.ack_seq;
	} else {
		/* All that they sent: SYN and FIN take a number each. */
		size = pkt->l3 + pkt->length - pkt->l4 - theirs.doff * 4;
		size += theirs.syn + theirs.fin;
		tcp->ack = 1;
		tcp->ack_seq = bpf_htonl(bpf_ntohl(theirs.seq) + size);
	}
	tcp->check = ~fold16(sum_words(tcp, sizeof(*tcp)) + pseudo_header(frame, IPPROTO_TCP, v6));
	return NT_ANSWER_RESET;
}

/* The address of this node that errors about the way come from; false if it has none. */
static __always_inline bool node_address(void *ctx, __be32 *address, const __u32 program,
					 const bool v6)
{
	__u32 zero = 0, ifindex = packet_device(ctx, program);
	struct nt_device *device = bpf_map_lookup_elem(&nt_devices, &ifindex);
	struct nt_node *node;
	__u32 any = 0;

	for (__u32 i = 0; device && i < words(v6); i++) {
		address[i] = v6 ? device->addr6[i] : device->addr4[0];
		any |= address[i];
	}
	if (any)
		return true;
	node = bpf_map_lookup_elem(&nt_node, &zero);
	for (__u32 i = 0; node && i < words(v6); i++) {
		address[i] = v6 ? node->addr6[i] : node->addr4[0];
		any |= address[i];
	}
	return any;
}

/* An ICMP error about the packet, which it quotes as it came (RFC 792, RFC 1191, RFC 4443). */
static __always_inline int build_error(void *ctx, struct answer_frame *frame,
				       const struct packet *pkt, const enum answer what, __u32 mtu,
				       const __u32 program, const bool v6)
{
	struct nt_addr source = pkt->tuple.dst;
	int counter = NT_ANSWER_UNREACHABLE;
	__u32 quoted = pkt->length, padded;
	__u64 sum;

	if (what != ANSWER_REFUSE && !node_address(ctx, source.w, program, v6))
		return ANSWER_NONE;
	if (quoted > ANSWER_QUOTE_MAX)
		quoted = ANSWER_QUOTE_MAX;
	/* The sum is one of whole words: the bytes after the last one count as zeroes. */
	padded = (quoted + 3) & ~3u;
	__builtin_memset(frame->quote + quoted, 0, 4);
	/* Said so that Linux 6.1 sees a lower bound: it learns none from "not 0". */
	if (quoted < sizeof(struct iphdr) ||
	    load_bytes(ctx, pkt->l3, frame->quote, quoted, program))
		return NT_DROP_REWRITE;
	frame->size = sizeof(frame->icmp) + quoted;
	answer_header(frame, pkt, source.w, v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP, v6);
	__builtin_memset(frame->icmp, 0, sizeof(frame->icmp));
	switch (what) {
	case ANSWER_TIME_EXCEEDED:
		frame->icmp[0] = v6 ? ICMPV6_TIME_EXCEED : ICMP_TIME_EXCEEDED;
		counter = NT_ANSWER_TIME_EXCEEDED;
		break;
	case ANSWER_TOO_BIG:
		frame->icmp[0] = v6 ? ICMPV6_PKT_TOOBIG : ICMP_DEST_UNREACH;
		frame->icmp[1] = v6 ? 0 : ICMP_FRAG_NEEDED;
		/* IPv4 has 16 bits for it, behind 16 that are not used. */
		*(__be32 *)(frame->icmp + 4) = bpf_htonl(mtu);
		counter = NT_ANSWER_TOO_BIG;
		break;
	default:
		frame->icmp[0] = v6 ? ICMPV6_DEST_UNREACH : ICMP_DEST_UNREACH;
		frame->icmp[1] = v6 ? ICMPV6_PORT_UNREACH : ICMP_PORT_UNREACH;
	}
	sum = sum_words(frame->icmp, sizeof(frame->icmp)) +
	      (__u32)bpf_csum_diff(NULL, 0, (__be32 *)frame->quote, padded, 0);
	if (v6)
		sum += pseudo_header(frame, IPPROTO_ICMPV6, true);
	*(__sum16 *)(frame->icmp + 2) = ~fold16(sum);
	return counter;
}

/*
 * Cuts or stretches the packet to `size` bytes, of whatever content. The kernel would still put a
 * checksum into an skb that waits for one (CHECKSUM_PARTIAL: what workloads send), and no helper
 * tells such an skb or makes it another. But the kernel gives up when all up to where that checksum
 * begins is taken off (skb_postpull_rcsum in include/linux/skbuff.h), so that is done, between
 * link header and network header. As the last step, because bpf_skb_change_tail refuses when the
 * transport header lies before the packet.
 */
static __always_inline long resize(void *ctx, __u32 l4, __u32 size, const __u32 program)
{
	struct __sk_buff *skb = ctx;
	__s32 surplus = (l4 & L4_OFFSET_MAX) + 4;

	if (is_xdp(program)) {
		__s32 missing = size - bpf_xdp_get_buff_len(ctx);

		return missing > 0 ? bpf_xdp_adjust_head(ctx, -missing)
				   : bpf_xdp_adjust_tail(ctx, missing);
	}
	/* With a tag in the packet the kernel does not know how to; it comes with its checksum. */
	if (skb->protocol != bpf_htons(ETH_P_IP) && skb->protocol != bpf_htons(ETH_P_IPV6))
		return bpf_skb_change_tail(skb, size, 0);
	return bpf_skb_change_tail(skb, size + surplus, 0) ||
	       bpf_skb_adjust_room(skb, -surplus, BPF_ADJ_ROOM_MAC, 0);
}

/* Makes the answer, of all kinds but echo replies, and puts it in the place of the packet. */
static __always_inline int answer_anew(void *ctx, struct answer_frame *frame,
				       const struct packet *pkt, const enum answer what, __u32 mtu,
				       const __u32 program, const bool v6)
{
	const __u32 ip = v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
	const __u32 link_end = sizeof(frame->link) + sizeof(frame->ip) - ip;
	__u32 link = pkt->l3, start, size;
	struct ethhdr *eth;
	int counter;

	if (link < sizeof(*eth) || link > ANSWER_LINK_MAX)
		return NT_DROP_REWRITE;
	/* As one number, or the compiler takes off `link` from a pointer, which could lead
	 * anywhere.
	 */
	start = link_end - link;
	barrier_var(start);
	eth = (void *)frame + start;
	if (load_bytes(ctx, 0, eth, link, program))
		return NT_DROP_REWRITE;
	swap_link_addresses(eth);
	if (what == ANSWER_REFUSE && pkt->tuple.protocol == IPPROTO_TCP)
		counter = build_reset(ctx, frame, pkt, program, v6);
	else
		counter = build_error(ctx, frame, pkt, what, mtu, program, v6);
	if (counter == ANSWER_NONE || counter == NT_DROP_REWRITE)
		return counter;
	size = frame->size;
	if (size > ANSWER_SIZE_MAX)
		return NT_DROP_REWRITE;
	size += link + ip;
	if (resize(ctx, pkt->l4, size, program) || store_bytes(ctx, 0, eth, size, program))
		return NT_DROP_REWRITE;
	return counter;
}

/*
 * Whether an IPv4 header may ask for a route of its own, which an answer would have to take back.
 * To look for it anywhere in the options is simpler than to walk them; others seldom contain it.
 */
static __always_inline bool maybe_source_routed(const __u8 *bytes, __u32 l3, __u32 l4)
{
	const __u8 *options = bytes + l3 + sizeof(struct iphdr);
	__u32 size = l4 - l3 - sizeof(struct iphdr);
	bool found = false;

	for (__u32 i = 0; i < 40; i++)
		found |= i < size && (options[i] == IPOPT_LSRR || options[i] == IPOPT_SSRR);
	return found;
}

/* Turns an echo request into its reply (RFC 792, RFC 4443 4.2), options, data and all. */
static __always_inline int answer_echo(void *ctx, struct answer_frame *frame,
				       const struct packet *pkt, const __u32 program, const bool v6)
{
	__u8 *bytes = (void *)frame;
	__u32 l3 = pkt->l3 & L4_OFFSET_MAX, l4 = pkt->l4 & L4_OFFSET_MAX;
	const __u8 reply = v6 ? ICMPV6_ECHO_REPLY : ICMP_ECHOREPLY;
	__u8 *icmp = bytes + l4;

	if (load_bytes(ctx, 0, bytes, l4 + 4, program))
		return NT_DROP_REWRITE;
	if (!v6 && maybe_source_routed(bytes, l3, l4))
		return ANSWER_NONE;
	swap_link_addresses((void *)bytes);
	if (v6) {
		struct ipv6hdr *ip = (void *)bytes + l3;

		__builtin_memcpy(&ip->saddr, &pkt->tuple.dst, sizeof(ip->saddr));
		__builtin_memcpy(&ip->daddr, &pkt->tuple.src, sizeof(ip->daddr));
		ip->hop_limit = ANSWER_HOP_LIMIT;
	} else {
		struct iphdr *ip = (void *)bytes + l3;

		ip->saddr = pkt->tuple.dst.w[0];
		ip->daddr = pkt->tuple.src.w[0];
		replace_checksum(&ip->check, sum_replaced(0, ip->ttl, ANSWER_HOP_LIMIT));
		ip->ttl = ANSWER_HOP_LIMIT;
	}
	replace_checksum((__sum16 *)(icmp + 2), sum_replaced(0, icmp[0], reply));
	icmp[0] = reply;
	return store_bytes(ctx, 0, bytes, l4 + 4, program) ? NT_DROP_REWRITE : NT_ANSWER_ECHO;
}

/* The counter of the answer that the packet has been made; NT_DROP_... or ANSWER_NONE without. */
static __always_inline int make_answer(void *ctx, struct packet *pkt, const enum answer what,
				       __u32 mtu, const __u32 program, const bool v6)
{
	__u32 zero = 0;
	struct answer_frame *frame = bpf_map_lookup_elem(&nt_answer_frame, &zero);

	if (!frame || !answerable(pkt, what, v6) || sent_to_many(ctx, program))
		return ANSWER_NONE;
	if (answer_limited(pkt))
		return NT_DROP_ANSWER_LIMIT;
	if (!is_xdp(program) && !pkt->l3) {
		struct ethhdr eth = {.h_proto = bpf_htons(v6 ? ETH_P_IPV6 : ETH_P_IP)};

		if (bpf_skb_change_head(ctx, sizeof(eth), 0) ||
		    bpf_skb_store_bytes(ctx, 0, &eth, sizeof(eth), 0))
			return NT_DROP_REWRITE;
		pkt->l3 += sizeof(eth);
		pkt->l4 += sizeof(eth);
	}
	return what == ANSWER_ECHO ? answer_echo(ctx, frame, pkt, program, v6)
				   : answer_anew(ctx, frame, pkt, what, mtu, program, v6);
}

/* Global functions, each verified by itself. */
__noinline int make_answer_xdp(struct xdp_md *ctx, struct packet *pkt, __u32 what, __u32 mtu)
{
	const __u32 program = NT_PROGRAM_EXTERNAL_XDP;

	if (!pkt)
		return ANSWER_NONE;
	return pkt->v6 ? make_answer(ctx, pkt, what, mtu, program, true)
		       : make_answer(ctx, pkt, what, mtu, program, false);
}

__noinline int make_answer_skb(struct __sk_buff *ctx, struct packet *pkt, __u32 what, __u32 mtu)
{
	const __u32 program = NT_PROGRAM_EXTERNAL_INGRESS;

	if (!pkt)
		return ANSWER_NONE;
	return pkt->v6 ? make_answer(ctx, pkt, what, mtu, program, true)
		       : make_answer(ctx, pkt, what, mtu, program, false);
}

/*
 * Answers the packet instead of forwarding it: replaces it by the answer and returns the verdict
 * that sends it back. `mtu` is for ANSWER_TOO_BIG. Counts the answer, or the reason not to give
 * one; the caller has asked can_answer(), and has counted why there is something to answer.
 */
static __always_inline int answer(void *ctx, const struct packet *pkt, const enum answer what,
				  __u32 mtu, const __u32 program, const bool v6)
{
	__u32 device = packet_device(ctx, program);
	bool linked = pkt->l3;
	int made = is_xdp(program) ? make_answer_xdp(ctx, (struct packet *)pkt, what, mtu)
				   : make_answer_skb(ctx, (struct packet *)pkt, what, mtu);

	/* The stack may know what to do with it. */
	if (what == ANSWER_ECHO && made == ANSWER_NONE) {
		count(program, NT_PASS_NOT_SERVICE);
		return packet_pass(program);
	}
	if ((__u32)made < NT_COUNTER_COUNT)
		count(program, made);
	if (made == ANSWER_NONE || made == NT_DROP_ANSWER_LIMIT || made == NT_DROP_REWRITE)
		return packet_drop(program);
	if (is_xdp(program))
		return XDP_TX;
	/* Without the MAC addresses that it came with, the neighbour table has to say where to. */
	return linked ? (int)bpf_redirect(device, 0) : (int)bpf_redirect_neigh(device, NULL, 0, 0);
}

#endif
