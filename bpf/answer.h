/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Answers that the programs give themselves. */
#ifndef NT_ANSWER_H
#define NT_ANSWER_H

#include "events.h"

enum answer {
	ANSWER_REFUSE,	      /* RST for TCP, ICMP port unreachable otherwise */
	ANSWER_TIME_EXCEEDED, /* the hop limit is used up */
	ANSWER_TOO_BIG,
	ANSWER_ECHO,
};

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

static __always_inline int answer(void *ctx, const struct packet *pkt, const enum answer what,
				  __u32 mtu, const __u32 program, const bool v6)
{
	return packet_drop(program);
}

#endif
