/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* ICMP errors about translated flows. */
#ifndef NT_ICMP_H
#define NT_ICMP_H

#include "path.h"

static __always_inline int handle_icmp_error(void *ctx, const struct packet *pkt,
					     const __u32 program, const enum nt_direction direction,
					     const bool v6)
{
	count(program, NT_PASS_NOT_SERVICE);
	return packet_pass(program);
}

#endif
