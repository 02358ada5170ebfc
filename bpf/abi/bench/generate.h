/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the generator of packets and its harness both see. The rules of needletail.h hold.
 */
#ifndef NEEDLETAIL_GENERATE_ABI_H
#define NEEDLETAIL_GENERATE_ABI_H

#include <linux/types.h>

/* Whole frames: Ethernet, IPv4 or IPv6, TCP, and bytes up to a multiple of 8. */
#define NT_GENERATED_FRAME4 72u
#define NT_GENERATED_FRAME6 96u

/*
 * The one element of the map `generator`. A flow's number is 16 bits of client address and, above
 * them, what is added to the client port. In `frame`, which is valid as it is, stands flow 0.
 */
struct nt_generator {
	__u64 next;   /* number of the next frame; counted up by the programs */
	__u64 stride; /* odd: the flow of a frame is number * stride & mask */
	__u64 mask;   /* flows - 1 */
	__u32 device; /* where frames go; 0: nowhere */
	__u32 unused;
	__u64 frame[NT_GENERATED_FRAME6 / 8];
};

_Static_assert(sizeof(struct nt_generator) == 128, "layout");

/* Elements of the map `sink`. */
#define NT_SINK_BACKEND 0u
#define NT_SINK_CLIENT	1u
#define NT_SINKS	2u

#endif
