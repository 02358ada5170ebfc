#ifndef CLINUX_H
#define CLINUX_H

// Kernel interfaces that the Glibc module does not carry: rtnetlink's structures and numbers,
// network namespaces, process descriptors. Everything here returns 0 (or a value) on success and a
// negated errno on failure, so that no Swift runtime call can come between a failing system call
// and the reading of errno.
//
// <sys/types.h> and headers that include it are not here: with them timespec and others would be
// this module's, where Swift reads it before Glibc, and no longer be found by who imports Glibc
// alone.

#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/inet_diag.h>
#include <linux/neighbour.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/veth.h>
#include <malloc.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>

// Opens a socket of a netlink protocol (NETLINK_ROUTE and so on; close-on-exec), bound to the
// multicast groups in the bit mask, with extended acknowledgements. nonblocking is 0 or 1.
// receive_buffer is in bytes, 0 for the system's default.
int nt_netlink_open(int protocol, uint32_t groups, int nonblocking, int receive_buffer);

// The same in the network namespace behind a descriptor. The calling thread is back in its own when
// this returns; the process is aborted should it not get back.
int nt_netlink_open_in(int network_namespace, int protocol);

// Sends one datagram to the kernel.
int nt_netlink_send(int fd, const void *bytes, size_t length);

// Receives one datagram that came from the kernel; those of other senders are thrown away.
// -EMSGSIZE when it did not fit, -EAGAIN when there is none in time.
ssize_t nt_netlink_receive(int fd, void *bytes, size_t capacity);

// Whether a legacy iptables table (family AF_INET or AF_INET6, in the calling thread's network
// namespace) has a chain of that name, made by a user. Returns 1 or 0. The kernel makes the table
// if there is none: ask /proc/net/ip_tables_names or ip6_tables_names first.
int nt_has_iptables_chain(int family, const char *table, const char *chain);

// Moves the calling thread to a new network namespace.
int nt_unshare_network(void);

// Moves the calling thread to a new mount namespace. What is mounted in it is seen by nobody
// outside, what is mounted or unmounted outside is still seen in it.
int nt_unshare_mounts(void);

// Thread id of the caller, as the kernel counts them.
int nt_thread_id(void);

// Keeps the calling thread, and threads that it makes from now on, on one of the processors it may
// run on now: the one of that index among them, counted round.
int nt_pin_thread(unsigned index);

// Settings of a device that are changed by the ethtool ioctl.
enum nt_offload {
	NT_OFFLOAD_TX_CHECKSUM,
	NT_OFFLOAD_TSO,
	NT_OFFLOAD_GSO,
	NT_OFFLOAD_GRO,
};

// Turns one offload of the named device on (1) or off (0), in the calling thread's network
// namespace.
int nt_set_offload(const char *device, enum nt_offload offload, uint32_t on);

// What an ICMP or ICMPv6 message said about something that a socket had sent.
struct nt_icmp_error {
	uint8_t type;
	uint8_t code;
	uint8_t family; // AF_INET or AF_INET6
	uint8_t sender[16];
	uint32_t information; // the MTU, of messages that tell one
};

// Takes the oldest error from the queue of a socket with IP_RECVERR or IPV6_RECVERR set. Returns 1;
// 0 when it was not by ICMP; -EAGAIN when there is none.
int nt_receive_icmp_error(int fd, struct nt_icmp_error *error);

// Sends a frame, link header and all, out of a device of the calling thread's network namespace.
int nt_send_frame(int device, const void *bytes, size_t length);

// Loads an XDP program that lets everything pass. Returns its descriptor.
int nt_load_xdp_pass(void);

// epoll(7), by functions and a structure of our own: its header would have timespec and others,
// which belong to Glibc, imported from here too.
enum nt_interest {
	NT_READABLE = 0x1,	   // EPOLLIN
	NT_WRITABLE = 0x4,	   // EPOLLOUT
	NT_ON_CHANGE = 0x80000000, // EPOLLET
};

// What happened to a member of an epoll set, or why it is there.
struct nt_epoll_event {
	uint32_t events;
	uint32_t number; // of the member, as it was given
};

// The most events that one wait brings.
#define NT_MOST_EVENTS 128

// A new epoll set; close-on-exec.
int nt_epoll_make(void);

// Adds a descriptor to an epoll set, or changes what is waited for if change is not 0.
int nt_epoll_control(int epoll, int change, int fd, struct nt_epoll_event interest);

// Waits for events, at most so many milliseconds (-1: for ever). Returns how many there are, of
// which there is room for NT_MOST_EVENTS; 0 when a signal came.
int nt_epoll_wait(int epoll, struct nt_epoll_event *events, int milliseconds);

// A pipe with both ends close-on-exec.
int nt_pipe(int *read_end, int *write_end);

// Accepts a connection; the new descriptor is close-on-exec.
int nt_accept(int listener);

// Starts a program in the calling thread's namespaces, in its own process group, with an empty
// signal mask, standard input from /dev/null. A NULL environment is the caller's own. The kernel
// kills it when the calling *thread* ends (PR_SET_PDEATHSIG). Returns the process id, or the
// negated errno of fork or execve.
int nt_spawn(const char *path, char *const arguments[], char *const environment[], int output,
	     int error);

// A descriptor that becomes readable when the process ends.
int nt_process_descriptor(int pid);

// Waits for the end of a child and leaves it a zombie, so that its id stays taken. Returns 0 when
// it exited (status is the exit status) and 1 when a signal ended it (status is the signal).
int nt_process_end(int pid, int *status);

#endif
