/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the BPF programs and the control plane both see: map keys, map values, settings.
 *
 * Rules: no unions, no bitfields, no implicit padding (Swift then sees trivially copyable structs
 * of the same layout), ids start at 1 so that a zeroed element never names anything, and a change
 * of any layout raises NT_ABI_VERSION.
 *
 * Addresses and ports are in network byte order; an IPv4 address is in w[0], the rest zero.
 */
#ifndef NEEDLETAIL_ABI_H
#define NEEDLETAIL_ABI_H

#include <linux/types.h>

#define NT_ABI_VERSION 1u

/* The Maglev slot array's element: one cache line, because array elements are padded to 8 bytes. */
#define NT_SLOTS_PER_LINE 16u

/* Flow times are ticks of 2^30 ns (1.07 s) of CLOCK_MONOTONIC, counted from 1. */
#define NT_TICK_SHIFT 30u

/* A Kubernetes name is a DNS label of at most 63 characters; a node name a DNS name of 253. */
#define NT_LABEL_SIZE	  64u
#define NT_NODE_NAME_SIZE 256u

typedef __be16 nt_port;
typedef __u32 nt_backend_id;
typedef __u32 nt_set_id;
typedef __u32 nt_service_id;

struct nt_addr {
	__be32 w[4];
};

/* The two populations of clients a frontend may answer differently (design: scopes). */
enum nt_scope {
	NT_SCOPE_EXTERNAL = 0, /* arrives on an external device */
	NT_SCOPE_INTERNAL = 1, /* comes from a workload of this node */
};
#define NT_SCOPE_COUNT 2u

/* Why a scope of a frontend has no backend set. */
enum nt_refusal {
	NT_REFUSAL_NONE = 0,
	NT_REFUSAL_NO_ENDPOINTS = 1,	   /* nothing usable anywhere */
	NT_REFUSAL_NO_LOCAL_ENDPOINTS = 2, /* a policy wants local endpoints and there are none */
	NT_REFUSAL_NO_LOCAL_BACKEND =
	    3, /* usable ones are on other nodes, out of reach of this hook */
};

/* ---- frontends: hash per family, key = what the client addresses ---- */

struct nt_frontend_key4 {
	__be32 addr[1];
	nt_port port;
	__u8 protocol;
	__u8 pad;
};

struct nt_frontend_key6 {
	__be32 addr[4];
	nt_port port;
	__u8 protocol;
	__u8 pad;
};

#define NT_FRONTEND_CLUSTER_IP	  0x01u
#define NT_FRONTEND_NODE_PORT	  0x02u
#define NT_FRONTEND_LOAD_BALANCER 0x04u
#define NT_FRONTEND_EXTERNAL_IP	  0x08u
/* No longer wanted: serves the flows it has, starts none. Kept while a flow names its key. */
#define NT_FRONTEND_RETIRED 0x10u

struct nt_frontend {
	/* The key again: an element may be recycled for another key while a program reads it. */
	struct nt_addr addr;
	nt_port port;
	__u8 protocol;
	__u8 family;
	__u32 flags;
	nt_service_id service;
	nt_set_id set[NT_SCOPE_COUNT]; /* 0: refuse, and refusal says why */
	__u8 refusal[NT_SCOPE_COUNT];
	__u8 pad[2];
};

/* ---- backend sets: immutable once a frontend names them ---- */

struct nt_set {
	__u32 line;	/* first line of its extent in the slot array */
	__u32 slots;	/* table size M; 0: this id is free */
	__u32 backends; /* members */
	__u32 pad;
	__u64 digest; /* of the members' ids and weights: tells whether a wanted set is this one */
};

struct nt_slot_line {
	nt_backend_id slot[NT_SLOTS_PER_LINE];
};

/* ---- backends: array by id ---- */

enum nt_backend_state {
	NT_BACKEND_FREE = 0,
	NT_BACKEND_ACTIVE = 1,	    /* may get new flows */
	NT_BACKEND_TERMINATING = 2, /* keeps its flows */
	NT_BACKEND_GONE = 3, /* its UDP flows end; its id is not reused while a flow names it */
};

#define NT_BACKEND_LOCAL 0x01u

struct nt_backend {
	struct nt_addr addr;
	nt_port port;
	__u8 protocol;
	__u8 family;
	__u8 state;
	__u8 flags;
	__u16 pad;
};

/* ---- services: names for people, by service port ---- */

struct nt_service_info {
	char service_namespace[NT_LABEL_SIZE];
	char name[NT_LABEL_SIZE];
	char port_name[NT_LABEL_SIZE];
	__u8 protocol;
	__u8 pad[7];
};

/* ---- flows: one entry per direction ---- */

enum nt_direction {
	NT_FORWARD = 0, /* client to frontend, at the client device's ingress */
	NT_REVERSE = 1, /* backend to client, at the client device's egress */
};

struct nt_flow_key4 {
	__be32 src[1];
	__be32 dst[1];
	nt_port sport;
	nt_port dport;
	__u8 protocol;
	__u8 direction;
	__u16 pad;
};

struct nt_flow_key6 {
	__be32 src[4];
	__be32 dst[4];
	nt_port sport;
	nt_port dport;
	__u8 protocol;
	__u8 direction;
	__u16 pad;
};

#define NT_FLOW_SYN	    0x01u /* opened by a SYN */
#define NT_FLOW_REPLIED	    0x02u /* the backend has answered */
#define NT_FLOW_FIN_FORWARD 0x04u
#define NT_FLOW_FIN_REVERSE 0x08u
#define NT_FLOW_RST	    0x10u
#define NT_FLOW_REMAPPED \
	0x20u /* the client's port was changed: two flows had the same reply tuple */

/*
 * `check` is a digest of the key. It is the first field a writer stores and the last a reader
 * verifies, so a reader that passes the check has read the rewrite of the flow it asked for even if
 * the LRU recycled the element under it.
 */
struct nt_flow {
	__u32 check;
	__u32 seen;    /* tick of the last packet, either direction */
	__u32 created; /* tick of the first packet */
	__u32 flags;
	nt_backend_id backend;
	nt_service_id service;
	nt_port sport; /* the tuple after the rewrite ... */
	nt_port dport;
};

struct nt_flow4 {
	struct nt_flow head;
	__be32 src[1]; /* ... and its addresses */
	__be32 dst[1];
};

struct nt_flow6 {
	struct nt_flow head;
	__be32 src[4];
	__be32 dst[4];
};

/* ---- counters: one struct per CPU ---- */

enum nt_program {
	NT_PROGRAM_EXTERNAL_XDP = 0,
	NT_PROGRAM_EXTERNAL_INGRESS = 1,
	NT_PROGRAM_EXTERNAL_EGRESS = 2,
	NT_PROGRAM_WORKLOAD_INGRESS = 3,
	NT_PROGRAM_WORKLOAD_EGRESS = 4,
};
#define NT_PROGRAM_COUNT 5u

enum nt_counter {
	/* passed untouched */
	NT_PASS_NOT_IP = 0,
	NT_PASS_NOT_SERVICE = 1, /* no such frontend, or at egress no such flow */
	NT_PASS_OTHER_PROTOCOL = 2,
	NT_PASS_FRAGMENT = 3,
	NT_PASS_MALFORMED = 4,
	NT_PASS_EXTENSION_HEADERS = 5, /* IPv6: too many, too long, or source routed */
	NT_PASS_RETIRED = 6,	       /* a new flow to a frontend that is no more */
	/* translated */
	NT_FORWARD_ESTABLISHED = 7,
	NT_FORWARD_NEW = 8,
	NT_REVERSE_TRANSLATED = 9,
	/* rare: a fallback was taken */
	NT_FLOW_PICKED_UP = 10,	    /* a TCP flow without an entry, not opened by a SYN */
	NT_FLOW_RESELECTED = 11,    /* its backend is gone, or a SYN reused its tuple */
	NT_FLOW_REPAIRED = 12,	    /* one direction's entry had been evicted and was put back */
	NT_FLOW_PORT_REMAPPED = 13, /* the client's source port was changed */
	NT_FLOW_STALE_CLEARED = 14, /* a direct connection took over a closed flow's tuple */
	NT_RACE_RETRIED = 15,	    /* a frontend element was recycled under the lookup */
	/* refused */
	NT_DROP_NO_ENDPOINTS = 16,
	NT_DROP_NO_LOCAL_ENDPOINTS = 17,
	NT_DROP_NO_LOCAL_BACKEND = 18,
	NT_DROP_BAD_SLOT = 19,	 /* a set, slot or backend that should exist does not: a bug */
	NT_DROP_FLOW_TABLE = 20, /* the kernel refused the flow entry */
	NT_DROP_PORT_CLASH = 21, /* no free source port for a clashing reply tuple */
	NT_DROP_RACE = 22,
	NT_DROP_REWRITE = 23, /* the kernel refused the change of the packet */
};
#define NT_COUNTER_COUNT 24u

struct nt_counters {
	__u64 value[NT_PROGRAM_COUNT][NT_COUNTER_COUNT];
};

/* ---- settings and state of the node ---- */

/* `const volatile` in .rodata, set before load. */
struct nt_config {
	__u16 remap_port_first; /* source ports for clashing flows, host byte order, inclusive */
	__u16 remap_port_last;
	__u32 udp_idle; /* ticks without a packet after which a UDP flow's reply tuple may be taken
			   over */
};

/* The one element of the map nt_meta, written by the agent for whoever reads the maps. */
struct nt_meta {
	__u32 abi_version;
	__u32 agent_pid;
	__u64 agent_started; /* CLOCK_REALTIME, ns */
	__u64 last_sync;     /* CLOCK_REALTIME, ns, of the last successful one; 0: none yet */
	__u64 syncs;
	__u64 sync_failures;
	char node_name[NT_NODE_NAME_SIZE];
	char agent_version[NT_LABEL_SIZE];
};

_Static_assert(sizeof(struct nt_frontend_key4) == 8, "layout");
_Static_assert(sizeof(struct nt_frontend_key6) == 20, "layout");
_Static_assert(sizeof(struct nt_frontend) == 40, "layout");
_Static_assert(sizeof(struct nt_set) == 24, "layout");
_Static_assert(sizeof(struct nt_slot_line) == 64, "layout");
_Static_assert(sizeof(struct nt_backend) == 24, "layout");
_Static_assert(sizeof(struct nt_service_info) == 200, "layout");
_Static_assert(sizeof(struct nt_flow_key4) == 16, "layout");
_Static_assert(sizeof(struct nt_flow_key6) == 40, "layout");
_Static_assert(sizeof(struct nt_flow4) == 36, "layout");
_Static_assert(sizeof(struct nt_flow6) == 60, "layout");

#endif
