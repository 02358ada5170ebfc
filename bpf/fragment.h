/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* IP fragments: later ones have the ports that the first one said. */
#ifndef NT_FRAGMENT_H
#define NT_FRAGMENT_H

#include "packet.h"

/* Notes the ports of the first fragment of a datagram that is translated. */
static __always_inline void fragment_note(const struct packet *pkt, const bool v6)
{
}

#endif
