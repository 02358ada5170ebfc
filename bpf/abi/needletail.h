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

#define NT_ABI_VERSION 3u

/* The Maglev slot array's element: one cache line, because array elements are padded to 8 bytes. */
#define NT_SLOTS_PER_LINE 16u

/* Flow times are ticks of 2^29 ns (0.54 s) of CLOCK_MONOTONIC, counted from 1. */
#define NT_TICK_SHIFT 29u

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
	NT_SCOPE_INTERNAL = 1, /* comes from a workload of this node, or from the pods' prefix */
};
#define NT_SCOPE_COUNT 2u

/* Why a scope of a frontend has no backend set. */
enum nt_refusal {
	NT_REFUSAL_NONE = 0,
	NT_REFUSAL_NO_ENDPOINTS = 1,	   /* nothing usable anywhere */
	NT_REFUSAL_NO_LOCAL_ENDPOINTS = 2, /* a policy wants local endpoints and there are none */
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
/* The source is rewritten whatever the backend, for traffic of this scope (setting `masquerade`).
 */
#define NT_FRONTEND_MASQUERADE_EXTERNAL 0x20u
#define NT_FRONTEND_MASQUERADE_INTERNAL 0x40u
/* Only sources found in nt_ranges may begin flows. */
#define NT_FRONTEND_SOURCE_RANGES 0x80u
/* Outside traffic for remote backends is encapsulated; the backend's node answers the client. */
#define NT_FRONTEND_DSR 0x100u

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
	__u32 affinity; /* seconds a client stays with its backend; 0: no affinity */
};

/* ---- source ranges: LPM trie per family, of the services whose frontends ask for it ---- */

struct nt_range_key4 {
	__u32 prefix_length; /* 32 for the service, plus the prefix of the address */
	nt_service_id service;
	__be32 addr[1];
};

struct nt_range_key6 {
	__u32 prefix_length;
	nt_service_id service;
	__be32 addr[4];
};

/* ---- addresses: hash per family, those of ClusterIPs and load balancers ---- */

#define NT_ADDRESS_CLUSTER_IP	 0x01u /* ports without a frontend are refused */
#define NT_ADDRESS_LOAD_BALANCER 0x02u
#define NT_ADDRESS_ENDPOINTS	 0x04u /* some port of it has endpoints: echo requests are answered */

struct nt_address_key4 {
	__be32 addr[1];
};

struct nt_address_key6 {
	__be32 addr[4];
};

struct nt_address {
	__u32 flags;
};

/* ---- backend sets: immutable once a frontend names them ---- */

/*
 * Its extent in the slot array: ceil(slots / 16) lines of the Maglev table, then, from a line of
 * its own, the members' ids in ascending order (ceil(backends / 16) lines).
 */
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
/* The source is an address of this node: both directions arrive at ingress and are sent on by us.
 */
#define NT_FLOW_MASQUERADED 0x40u
/* Encapsulated for the backend's node; there is no reply entry on this node. */
#define NT_FLOW_DSR 0x80u
/* Came encapsulated from another node; replies leave in the frontend's name, their MSS clamped. */
#define NT_FLOW_DSR_REPLY 0x100u

/* The way out of this node for packets we send on ourselves; looked up again once a tick. */
struct nt_path {
	__u32 ifindex; /* 0: not known */
	__u16 mtu;     /* of the route, L3 bytes; 0: not known */
	__u8 flags;
	__u8 pad;
	__u8 destination[6]; /* MAC addresses; zero without NT_PATH_NEIGHBOUR */
	__u8 source[6];
};

#define NT_PATH_NEIGHBOUR 0x01u /* the MAC addresses are known */
#define NT_PATH_XDP	  0x02u /* the device can be sent to from XDP */

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
	struct nt_path path; /* only of flows that are masqueraded or encapsulated */
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

/* ---- marks: array of cache lines, by the tuple's hash ---- */

/*
 * A mark is a word of 64 bits: the upper 52 those of the tuple's hash xor the digest of the set its
 * slot was looked up in, the lower 12 those of the tick. It is good for so many ticks.
 */
#define NT_MARK_TICKS	  4u
#define NT_MARKS_PER_LINE 8u

struct nt_mark_line {
	__u64 mark[NT_MARKS_PER_LINE];
};

/*
 * The one element of the map nt_marking. The fewer lines the marks are in, the fewer cache lines
 * and pages they take; so the agent fits their number to that of the flows. When it changes, flows
 * are marked anew.
 */
struct nt_marking {
	__u32 mask; /* lines in use, a power of two, less 1 */
	__u32 pad;
};

/*
 * ---- senders that no reply comes from: array of words, a bit by the hash of address, port,
 * protocol ----
 *
 * Set: no flow has ever had a reply entry for packets from there. The loader sets all when the flow
 * tables are new, and a program clears a bit before it stores such an entry. None is ever set
 * again; all clear is right too, and only slow.
 */
#define NT_SILENT_WORDS 16384u

/* ---- affinity: LRU hash ---- */

struct nt_affinity_key {
	/* for sockets: w[0..1] the cookie of their network namespace, w[2..3] all ones */
	struct nt_addr client;
	nt_service_id service;
};

struct nt_affinity {
	__u64 used; /* CLOCK_MONOTONIC, ns, of the client's last new flow */
	nt_backend_id backend;
	__u32 pad;
};

/* ---- fragments: LRU hash; what the first fragment of a datagram said ---- */

struct nt_fragment_key {
	struct nt_addr src;
	struct nt_addr dst;
	__u32 id; /* as on the wire */
	__u8 protocol;
	__u8 family;
	__u16 pad;
};

struct nt_fragment {
	nt_port sport;
	nt_port dport;
	__u32 seen; /* tick */
};

/* ---- devices: hash by ifindex; written by the agent ---- */

#define NT_DEVICE_EXTERNAL 0x01u
#define NT_DEVICE_WORKLOAD 0x02u
/* XDP may send packets out of it: native XDP, and whatever else its driver asks for. */
#define NT_DEVICE_XDP 0x04u

struct nt_device {
	__u32 flags;
	__be32
	    addr4[1]; /* the source of what is masqueraded out of it; 0: none, the node's is used */
	__be32 addr6[4];
};

/* ---- sockets: what the iterator over their storage tells ---- */

/* A connected UDP socket that was led to a backend; its addresses as sock_diag has them. */
struct nt_led_socket {
	__u64 cookie;
	__u64 netns; /* inode number of its network namespace */
	struct nt_addr src;
	struct nt_addr dst;
	nt_port sport;
	nt_port dport;
	__u32 ifindex; /* it is bound to; 0: none */
	nt_service_id service;
	nt_backend_id backend;
	__u16 family; /* AF_INET or AF_INET6, the socket's own */
	__u8 over;    /* 1: its frontend or its backend is no more what it was */
	__u8 pad[5];
};

/* ---- counters: one struct per CPU ---- */

enum nt_program {
	NT_PROGRAM_EXTERNAL_XDP = 0,
	NT_PROGRAM_EXTERNAL_INGRESS = 1,
	NT_PROGRAM_EXTERNAL_EGRESS = 2,
	NT_PROGRAM_WORKLOAD_INGRESS = 3,
	NT_PROGRAM_WORKLOAD_EGRESS = 4,
	NT_PROGRAM_SOCKET = 5, /* the cgroup hooks together */
};
#define NT_PROGRAM_COUNT 6u

/* Fewer than 64, so that a trace can tell by one bit each which of them moved. */
enum nt_counter {
	/* passed untouched */
	NT_PASS_NOT_IP = 0,
	NT_PASS_NOT_SERVICE = 1, /* no such frontend, or at egress no such flow */
	NT_PASS_OTHER_PROTOCOL = 2,
	NT_PASS_FRAGMENT = 3, /* of a datagram whose first fragment is not known */
	NT_PASS_MALFORMED = 4,
	NT_PASS_EXTENSION_HEADERS = 5, /* IPv6: too many, too long, or source routed */
	NT_PASS_RETIRED = 6,	       /* a new flow to a frontend that is no more */
	NT_PASS_TO_TC = 7,	       /* XDP cannot send it on: tc does, with the whole of it */
	/* translated */
	NT_FORWARD_ESTABLISHED = 8,
	NT_FORWARD_NEW = 9,
	NT_REVERSE_TRANSLATED = 10,
	NT_ICMP_TRANSLATED = 11, /* an ICMP error about a translated flow */
	NT_DSR_ENCAPSULATED = 12,
	NT_DSR_DECAPSULATED = 13,
	/* answered by ourselves; why is counted besides */
	NT_ANSWER_RESET = 14,
	NT_ANSWER_UNREACHABLE = 15,
	NT_ANSWER_ECHO = 16,
	NT_ANSWER_TIME_EXCEEDED = 17,
	NT_ANSWER_TOO_BIG = 18,
	/* rare: a fallback was taken */
	NT_FLOW_PICKED_UP = 19,	 /* a TCP flow without an entry, not opened by a SYN */
	NT_FLOW_RESELECTED = 20, /* its backend is gone, or a SYN reused its tuple */
	NT_FLOW_REPAIRED = 21,	 /* one direction's entry had been evicted and was put back */
	/* its reply tuple had become another flow's, its own reply entry evicted: it began anew */
	NT_FLOW_REPLY_TAKEN = 22,
	NT_FLOW_PORT_REMAPPED = 23, /* the client's source port was changed */
	NT_FLOW_STALE_CLEARED = 24, /* a direct connection took over a closed flow's tuple */
	NT_FLOW_UNTRACKED = 25,	    /* too many new flows: forwarded without an entry */
	NT_RACE_RETRIED = 26,	    /* a frontend element was recycled under the lookup */
	NT_FRAGMENT_REORDERED = 27, /* a fragment waited for the first one of its datagram */
	/* refused */
	NT_DROP_NO_ENDPOINTS = 28,
	NT_DROP_NO_LOCAL_ENDPOINTS = 29,
	NT_DROP_UNKNOWN_PORT = 30, /* of a ClusterIP */
	NT_DROP_UNALLOCATED = 31,  /* an address of the service CIDRs that no Service has */
	NT_DROP_SOURCE_RANGE = 32, /* not in loadBalancerSourceRanges */
	NT_DROP_BAD_SLOT = 33,	   /* a set, slot or backend that should exist does not: a bug */
	NT_DROP_FLOW_TABLE = 34,   /* the kernel refused the flow entry */
	NT_DROP_PORT_CLASH = 35,   /* no free source port for the reply tuple */
	NT_DROP_FLOOD = 36,	   /* too many new flows, and this one cannot go without an entry */
	NT_DROP_NO_ROUTE = 37,	   /* none to the backend or back to the client */
	NT_DROP_HOP_LIMIT = 38,
	NT_DROP_TOO_BIG = 39,
	NT_DROP_ANSWER_LIMIT =
	    40, /* refused without a word: this source has been told often enough */
	NT_DROP_RACE = 41,
	NT_DROP_REWRITE = 42, /* the kernel refused the change of the packet */
	/* not of packets: the ring was full, and whoever watches was not told of one */
	NT_EVENT_LOST = 43,
};
#define NT_COUNTER_COUNT 44u

struct nt_counters {
	__u64 value[NT_PROGRAM_COUNT][NT_COUNTER_COUNT];
};

/* ---- statistics: per-CPU array by service id ---- */

enum nt_stat_refusal {
	NT_STAT_NO_ENDPOINTS = 0,
	NT_STAT_NO_LOCAL_ENDPOINTS = 1,
	NT_STAT_SOURCE_RANGE = 2,
	NT_STAT_OTHER = 3,
};
#define NT_STAT_REFUSAL_COUNT 4u

struct nt_service_stats {
	__u64 packets[2]; /* by direction, translated */
	__u64 bytes[2];	  /* L3 */
	__u64 new_flows;
	__u64 refused[NT_STAT_REFUSAL_COUNT];
};

/* ---- events: ring buffer ---- */

#define NT_EVENT_NEW_FLOW 0x01u
#define NT_EVENT_REFUSED  0x02u /* any drop */
#define NT_EVENT_FALLBACK 0x04u

struct nt_event {
	__u64 time; /* CLOCK_MONOTONIC, ns */
	nt_service_id service;
	nt_backend_id backend;
	struct nt_addr src; /* as on the wire before any rewrite */
	struct nt_addr dst;
	nt_port sport;
	nt_port dport;
	__u8 kind;
	__u8 program;
	__u8 counter;
	__u8 protocol;
	__u8 family;
	__u8 pad[7];
};

/* Written by whoever reads the events; they stop by themselves when the reader is killed. */
struct nt_event_control {
	__u64 until;  /* CLOCK_MONOTONIC, ns */
	__u32 kinds;  /* NT_EVENT_... */
	__u32 sample; /* one in so many; 0 is 1 */
};

/* ---- trace: what a program loaded for tracing did with a packet, and would have changed ---- */

#define NT_TRACE_FRONTEND      0x001u /* the frontend was found */
#define NT_TRACE_FLOW	       0x002u /* a flow was found and decided */
#define NT_TRACE_FLOW_UNUSABLE 0x004u
#define NT_TRACE_AFFINITY      0x008u /* the client's last backend */
#define NT_TRACE_SLOT	       0x010u /* a slot was chosen */
#define NT_TRACE_HAIRPIN       0x020u
#define NT_TRACE_MASQUERADE    0x040u
#define NT_TRACE_LOCAL	       0x080u /* the backend is on this node */
#define NT_TRACE_REVERSE       0x100u /* a reply of a flow */
#define NT_TRACE_PATH	       0x200u /* the way out was looked up */
#define NT_TRACE_REWRITE       0x400u /* `to` is set */

struct nt_trace {
	__u64 counted; /* bit n: counter n would have moved */
	__u32 flags;
	nt_service_id service;
	nt_set_id set;
	__u32 slot;
	__u32 slots;
	nt_backend_id backend;
	__u32 frontend_flags;
	__u32 flow_flags;
	__u32 scope;
	__u32 refusal;
	__s32 fib; /* answer of bpf_fib_lookup */
	struct nt_path path;
	struct nt_addr src; /* after the rewrite */
	struct nt_addr dst;
	nt_port sport;
	nt_port dport;
	__u32 pad;
};

/* ---- settings and state of the node ---- */

/* Traffic of sockets in namespaces other than the host's. */
#define NT_SOCKETS_OFF	0u /* neither */
#define NT_SOCKETS_HOST 1u
#define NT_SOCKETS_ALL	2u

/* `const volatile` in .rodata, set before load. */
struct nt_config {
	__u64 host_netns;     /* cookie of the node's network namespace */
	__u16 nat_port_first; /* source ports for masqueraded and clashing flows, host byte order */
	__u16 nat_port_last;  /* inclusive */
	__u32 udp_idle; /* ticks without a packet after which a UDP flow's reply tuple may be taken
			   over */
	__u32 new_flow_limit; /* per CPU and tick; 0: none */
	__u32 answer_limit;   /* RSTs and ICMP messages per source address and tick */
	__u32 sockets;	      /* NT_SOCKETS_... */
	__u32 tracing;	      /* 1: changes nothing but nt_trace */
};

/* Prefixes of the service CIDRs the node record has room for, per family. */
#define NT_SERVICE_CIDRS 4u

struct nt_cidr4 {
	__u32 addr; /* host byte order, like the mask */
	__u32 mask; /* with addr, 0: none */
};

struct nt_cidr6 {
	__u64 addr[2]; /* host byte order, high half first */
	__u64 mask[2];
};

/* The one element of the map nt_node: what the programs know of the node, kept by the agent. */
struct nt_node {
	__be32 addr4[1]; /* the source of what is masqueraded where the device has none */
	__be32 addr6[4];
	__u32 cluster_first4; /* all ClusterIPs and service CIDRs lie between, host byte order; */
	__u32 cluster_last4;  /* first > last: there are none */
	__u32 pad;
	__u64 cluster_first6[2];
	__u64 cluster_last6[2];
	struct nt_cidr4 cidr4[NT_SERVICE_CIDRS];
	struct nt_cidr6 cidr6[NT_SERVICE_CIDRS];
	/* Sources behind external devices whose new flows are of the internal scope too. */
	struct nt_cidr4 pods4;
	struct nt_cidr6 pods6;
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
_Static_assert(sizeof(struct nt_frontend) == 44, "layout");
_Static_assert(sizeof(struct nt_set) == 24, "layout");
_Static_assert(sizeof(struct nt_slot_line) == 64, "layout");
_Static_assert(sizeof(struct nt_backend) == 24, "layout");
_Static_assert(sizeof(struct nt_service_info) == 200, "layout");
_Static_assert(sizeof(struct nt_flow_key4) == 16, "layout");
_Static_assert(sizeof(struct nt_flow_key6) == 40, "layout");
_Static_assert(sizeof(struct nt_flow4) == 56, "layout");
_Static_assert(sizeof(struct nt_flow6) == 80, "layout");
_Static_assert(sizeof(struct nt_path) == 20, "layout");
_Static_assert(sizeof(struct nt_mark_line) == 64, "layout");
_Static_assert(sizeof(struct nt_affinity_key) == 20, "layout");
_Static_assert(sizeof(struct nt_fragment_key) == 40, "layout");
_Static_assert(sizeof(struct nt_device) == 24, "layout");
_Static_assert(sizeof(struct nt_led_socket) == 72, "layout");
_Static_assert(sizeof(struct nt_service_stats) == 72, "layout");
_Static_assert(sizeof(struct nt_event) == 64, "layout");
_Static_assert(sizeof(struct nt_trace) == 112, "layout");
_Static_assert(sizeof(struct nt_config) == 32, "layout");
_Static_assert(sizeof(struct nt_node) == 264, "layout");

#endif
