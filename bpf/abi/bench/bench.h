/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the benchmark's programs and its harness both see. The rules of needletail.h hold.
 */
#ifndef NEEDLETAIL_BENCH_ABI_H
#define NEEDLETAIL_BENCH_ABI_H

#include <linux/types.h>

/* Headers of a frame from the IP header on, in words: IPv4 or IPv6, then TCP, without options. */
#define NT_BENCH_WORDS4 10u
#define NT_BENCH_WORDS6 15u

/* A flow's number is 16 bits of client address and, above them, client ports from here on. */
#define NT_BENCH_FIRST_PORT 1024u

/* Slot of the program under test in both arrays of programs. */
#define NT_BENCH_TARGET 0u

/*
 * The one element of the map bench_case: which packet the next run sees. The client's address lacks
 * its low 16 bits and its port is 0 in `words`; sums are those of the headers as they stand there,
 * the checksum field taken as 0, not complemented.
 */
struct nt_bench_case {
	__u64 next; /* number of the next run; counted up by the programs */
	__u64
	    stride; /* odd: the flow of a run is run * stride & mask, each once before any twice */
	__u64 mask; /* flows - 1 */
	__u64 failures; /* of floor programs: a lookup missed, an insertion was refused */
	__u16 ethernet[7];
	__u16 client_is_destination;
	__be32 words[NT_BENCH_WORDS6];
	__u16 ip_sum;
	__u16 tcp_sum;
};

_Static_assert(sizeof(struct nt_bench_case) == 112, "layout");

#endif
