/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What is counted, and what a program loaded for tracing notes instead. */
#ifndef NT_COUNT_H
#define NT_COUNT_H

#include "maps.h"

/* CLOCK_MONOTONIC in ticks, from 1: 0 is never a time. The coarse clock costs a tenth of the fine
 * one. */
static __always_inline __u32 tick(void)
{
	return (bpf_ktime_get_coarse_ns() >> NT_TICK_SHIFT) + 1;
}

/*
 * The record of the trace, NULL in live programs: nt_config.tracing is a constant when the program
 * is verified, so that nothing of this is left in them.
 */
static __always_inline struct nt_trace *trace(void)
{

	return nt_config.tracing ? bpf_map_lookup_elem(&nt_trace, &zero) : NULL;
}

static __always_inline void count(const __u32 program, const enum nt_counter counter)
{
	struct nt_counters *counters;
	__u64 index = counter;

	if (nt_config.tracing) {
		struct nt_trace *record = trace();

		if (record)
			record->counted |= 1ULL << counter;
		return;
	}
	counters = bpf_map_lookup_elem(&nt_counters, &zero);
	if (!counters)
		return;
	/* What a global function returns is any number to the verifier, which must see it bounded
	 * right here. */
	if (!__builtin_constant_p(counter)) {
		asm volatile("" : "+r"(index));
		if (index >= NT_COUNTER_COUNT)
			return;
	}
	counters->value[program][index]++;
}

/* An event that found no room in the ring. */
static __always_inline void count_lost_event(__u32 program)
{
	struct nt_counters *counters = bpf_map_lookup_elem(&nt_counters, &zero);

	/* What a global function is given is any number to the verifier. */
	asm volatile("" : "+r"(program));
	if (counters && program < NT_PROGRAM_COUNT)
		counters->value[program][NT_EVENT_LOST]++;
}

static __always_inline struct nt_service_stats *statistics(nt_service_id service)
{
	return nt_config.tracing ? NULL : bpf_map_lookup_elem(&nt_stats, &service);
}

static __always_inline void count_translated(nt_service_id service, const __u8 direction,
					     __u32 bytes)
{
	struct nt_service_stats *stats = statistics(service);

	if (stats) {
		stats->packets[direction]++;
		stats->bytes[direction] += bytes;
	}
}

static __always_inline void count_new_flow(nt_service_id service)
{
	struct nt_service_stats *stats = statistics(service);

	if (stats)
		stats->new_flows++;
}

static __always_inline void count_refused(nt_service_id service, const enum nt_counter reason)
{
	struct nt_service_stats *stats = statistics(service);

	if (!stats)
		return;
	switch (reason) {
	case NT_DROP_NO_ENDPOINTS:
		stats->refused[NT_STAT_NO_ENDPOINTS]++;
		break;
	case NT_DROP_NO_LOCAL_ENDPOINTS:
		stats->refused[NT_STAT_NO_LOCAL_ENDPOINTS]++;
		break;
	case NT_DROP_SOURCE_RANGE:
		stats->refused[NT_STAT_SOURCE_RANGE]++;
		break;
	default:
		stats->refused[NT_STAT_OTHER]++;
	}
}

#endif
