#define _GNU_SOURCE
#include "CLinux.h"

// Before the kernel's headers, which then leave out what it has.
#include <net/if.h>

#include <errno.h>
#include <linux/netfilter_ipv4/ip_tables.h>
#include <linux/netfilter_ipv6/ip6_tables.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

// The name of a user's chain is in the error target at its head, with a zero behind it; jumps go by
// distances and carry no names.
static int find_chain(int fd, int level, const char *table, const char *chain)
{
	// Both families have the same structures, and numbers of options.
	struct ipt_getinfo info = {};
	socklen_t length = sizeof info;

	strncpy(info.name, table, sizeof info.name - 1);
	if (getsockopt(fd, level, IPT_SO_GET_INFO, &info, &length) < 0)
		return -errno;
	length = sizeof(struct ipt_get_entries) + info.size;
	struct ipt_get_entries *entries = calloc(1, length);
	if (!entries)
		return -ENOMEM;
	strncpy(entries->name, table, sizeof entries->name - 1);
	entries->size = info.size;
	int result;
	if (getsockopt(fd, level, IPT_SO_GET_ENTRIES, entries, &length) < 0)
		result = -errno;
	else
		result = memmem(entries->entrytable, info.size, chain, strlen(chain) + 1) != NULL;
	free(entries);
	return result;
}

int nt_has_iptables_chain(int family, const char *table, const char *chain)
{
	int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int result = -EAGAIN;

	if (fd < 0)
		return -errno;
	// The table may grow between the two questions.
	for (int attempt = 0; attempt < 16 && result == -EAGAIN; attempt++)
		result =
		    find_chain(fd, family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6, table, chain);
	close(fd);
	return result;
}
