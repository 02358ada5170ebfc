/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Events, for whoever watches. Nobody does most of the time: then this is one lookup in an array.
 */
#ifndef NT_EVENTS_H
#define NT_EVENTS_H

#include "packet.h"

/* Kind, program, counter and family of an event in one word: the stack has no room for a struct. */
#define EVENT(kind, program, counter, v6) \
	((__u32)(kind) << 24 | (__u32)(program) << 16 | (__u32)(counter) << 8 | ((v6) ? 6 : 4))

/* A global function: it is called from many places and verified once. */
__noinline int emit_event(struct tuple *t, __u32 what, __u32 service, __u32 backend)
{
	struct nt_event_control *control = bpf_map_lookup_elem(&nt_event_ctl, &zero);
	struct nt_event *event;

	if (!control || !t || !(control->kinds & what >> 24) ||
	    control->until <= bpf_ktime_get_coarse_ns())
		return 0;
	if (control->sample > 1 && bpf_get_prandom_u32() % control->sample)
		return 0;
	event = bpf_ringbuf_reserve(&nt_events, sizeof(*event), 0);
	if (!event) {
		count_lost_event(what >> 16 & 0xff);
		return 0;
	}
	event->time = bpf_ktime_get_ns();
	event->service = service;
	event->backend = backend;
	event->src = t->src;
	event->dst = t->dst;
	event->sport = t->sport;
	event->dport = t->dport;
	event->kind = what >> 24;
	event->program = what >> 16;
	event->counter = what >> 8;
	event->protocol = t->protocol;
	event->family = what;
	__builtin_memset(event->pad, 0, sizeof(event->pad));
	bpf_ringbuf_submit(event, 0);
	return 0;
}

static __always_inline void report(const struct tuple *t, const __u8 kind,
				   const enum nt_counter counter, nt_service_id service,
				   nt_backend_id backend, const __u32 program, const bool v6)
{
	if (!nt_config.tracing)
		emit_event((struct tuple *)t, EVENT(kind, program, counter, v6), service, backend);
}

/* Refuses a packet without an answer. `service` 0: of none. */
static __always_inline int drop(const struct tuple *t, const enum nt_counter reason,
				nt_service_id service, const __u32 program, const bool v6)
{
	count(program, reason);
	if (service)
		count_refused(service, reason);
	report(t, NT_EVENT_REFUSED, reason, service, 0, program, v6);
	return packet_drop(program);
}

#endif
