/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the benchmark's programs and its harness both see. The rules of needletail.h hold.
 */
#ifndef NEEDLETAIL_BENCH_ABI_H
#define NEEDLETAIL_BENCH_ABI_H

#include <linux/types.h>

/*
 * Headers of a frame from the IP header on, in words: IPv4 or IPv6 without options, then TCP, UDP,
 * or an ICMP error that quotes an IP header and 8 bytes of TCP.
 */
#define NT_BENCH_WORDS_TCP4   10u
#define NT_BENCH_WORDS_TCP6   15u
#define NT_BENCH_WORDS_UDP4   7u
#define NT_BENCH_WORDS_UDP6   12u
#define NT_BENCH_WORDS_ERROR4 14u
#define NT_BENCH_WORDS_ERROR6 24u
#define NT_BENCH_WORDS_MAX    24u

/* Slot of the program under test in the arrays of programs. */
#define NT_BENCH_TARGET 0u

/* Slots of the Maglev table that the stateless floor chooses by; 16 to an element. */
#define NT_BENCH_SLOTS 65537u

/* Entries in a line of the dense table. */
#define NT_BENCH_DENSE_WAYS 3u

/*
 * The one element of the map bench_case: which packet the next run sees. Of a flow's number the low
 * 16 bits go into one address and what is above them into one port (or both are read from the map
 * bench_list4 or 6). In `words` that address lacks its low 16 bits and that port is 0; sums are
 * those of the headers as they stand there, checksum fields taken as 0, not complemented. The tuple
 * is that of the quoted packet in an ICMP error.
 */
struct nt_bench_case {
	__u64 next; /* number of the next run; counted up by the programs */
	__u64
	    stride; /* odd: the flow of a run is run * stride & mask, each once before any twice */
	__u64 mask; /* flows - 1 */
	__u64 failures; /* of floor programs: a lookup missed, an insertion was refused */
	__u32 services; /* flow * services >> shift is added to the destination address */
	__u32 shift;
	__u32 length;	  /* of the frame: what has been stretched is cut */
	__u16 first_port; /* what the flow's part of the port is added to */
	__u8 listed;	  /* address (high half) and port are those of the list */
	__u8 address_is_destination;
	__u8 port_is_destination;
	__u8 pad;
	__u16 ip_sum; /* of the IPv4 header, in an ICMP error the quoted one */
	__u16 l4_sum; /* with the pseudo header, if the protocol has one */
	__u16 ethernet[7];
	__be32 words[NT_BENCH_WORDS_MAX];
};

/* One cache line: an even sequence number while nobody writes. */
struct nt_bench_dense_entry {
	__be32 src;
	__be32 dst;
	__be16 sport;
	__be16 dport; /* 0: free */
	__be32 to;
	__be16 to_port;
	__u16 seen;
};

struct nt_bench_dense_line {
	__u32 sequence;
	struct nt_bench_dense_entry entry[NT_BENCH_DENSE_WAYS];
};

_Static_assert(sizeof(struct nt_bench_case) == 168, "layout");
_Static_assert(sizeof(struct nt_bench_dense_line) == 64, "layout");

#endif
