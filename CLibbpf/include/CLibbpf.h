/*
 * The C side of the BPF module: headers of libbpf and the kernel, and the few things Swift cannot
 * reach by itself (a variadic print callback, thread-local capture, calls that need _GNU_SOURCE).
 */
#ifndef CLIBBPF_H
#define CLIBBPF_H

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <stddef.h>
#include <sys/vfs.h>

/* Newer than the headers this may be built with; from uapi/linux/bpf.h of Linux 6.6. */
#define CLIBBPF_TCX_INGRESS   46u
#define CLIBBPF_TCX_EGRESS    47u
#define CLIBBPF_LINK_TYPE_TCX 11u

/* <linux/btf.h> and <bpf/btf.h> both define the kinds: their names are ambiguous in Swift. */
#define CLIBBPF_BTF_STRUCT  4u
#define CLIBBPF_BTF_DATASEC 15u

/*
 * From here to the matching end, what libbpf prints on this thread is kept. libbpf calls back on
 * the thread that called it, so captures of different threads never mix. Captures do not nest: the
 * inner one takes the text. Outside of a capture the text is dropped; it never reaches stderr.
 */
void clibbpf_capture_begin(void);

/* Ends the capture. Returns its text, to be freed by the caller, or NULL if nothing was printed. */
char *clibbpf_capture_end(void);

/* Moves the calling thread (only) into a new network namespace. Returns 0 or -errno. */
int clibbpf_unshare_network(void);

/* Moves the calling thread (only) into the network namespace behind fd. Returns 0 or -errno. */
int clibbpf_enter_network(int fd);

/* membarrier(MEMBARRIER_CMD_GLOBAL): returns after an RCU grace period. 0 or -errno. */
int clibbpf_membarrier_global(void);

#endif
