#define _GNU_SOURCE
#include "CLinux.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/errqueue.h>
#include <linux/ethtool.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static int negated(int result)
{
	return result < 0 ? -errno : result;
}

static int configure_netlink(int fd, uint32_t groups, int receive_buffer)
{
	const int one = 1;
	const struct timeval limit = {.tv_sec = 10};
	const struct sockaddr_nl self = {.nl_family = AF_NETLINK, .nl_groups = groups};

	if (setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &one, sizeof one) < 0 ||
	    setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof one) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) < 0)
		return -errno;
	// Without CAP_NET_ADMIN the forced size is refused; the plain one is then capped by
	// net.core.rmem_max.
	if (receive_buffer > 0 &&
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &receive_buffer, sizeof receive_buffer) <
		0 &&
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer) < 0)
		return -errno;
	return negated(bind(fd, (const struct sockaddr *)&self, sizeof self));
}

int nt_netlink_open(int protocol, uint32_t groups, int nonblocking, int receive_buffer)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0),
			protocol);
	if (fd < 0)
		return -errno;
	int result = configure_netlink(fd, groups, receive_buffer);
	if (result < 0) {
		close(fd);
		return result;
	}
	return fd;
}

static bool is_same_file(int a, int b)
{
	struct stat first, second;
	return fstat(a, &first) == 0 && fstat(b, &second) == 0 && first.st_dev == second.st_dev &&
	       first.st_ino == second.st_ino;
}

int nt_netlink_open_in(int network_namespace, int protocol)
{
	int result;
	int own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (own < 0)
		return -errno;
	if (is_same_file(own, network_namespace)) {
		// Entering it would need CAP_SYS_ADMIN, which an agent that serves the node alone
		// does without.
		result = nt_netlink_open(protocol, 0, 0, 0);
	} else if (setns(network_namespace, CLONE_NEWNET) < 0) {
		result = -errno;
	} else {
		result = nt_netlink_open(protocol, 0, 0, 0);
		if (setns(own, CLONE_NEWNET) < 0)
			abort();
	}
	close(own);
	return result;
}

int nt_netlink_send(int fd, const void *bytes, size_t length)
{
	const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	ssize_t sent;
	do
		sent =
		    sendto(fd, bytes, length, 0, (const struct sockaddr *)&kernel, sizeof kernel);
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : 0;
}

ssize_t nt_netlink_receive(int fd, void *bytes, size_t capacity)
{
	for (;;) {
		struct sockaddr_nl sender = {0};
		socklen_t size = sizeof sender;
		ssize_t got =
		    recvfrom(fd, bytes, capacity, MSG_TRUNC, (struct sockaddr *)&sender, &size);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (sender.nl_pid != 0)
			continue;
		return (size_t)got > capacity ? -EMSGSIZE : got;
	}
}

int nt_unshare_network(void)
{
	return negated(unshare(CLONE_NEWNET));
}

int nt_unshare_mounts(void)
{
	// Where mounts are shared, as systemd has them, they would show up outside all the same.
	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
		return -errno;
	return 0;
}

pid_t nt_thread_id(void)
{
	return (pid_t)syscall(SYS_gettid);
}

int nt_pin_thread(unsigned index)
{
	cpu_set_t allowed, one;

	if (sched_getaffinity(0, sizeof allowed, &allowed) < 0)
		return -errno;
	index %= (unsigned)CPU_COUNT(&allowed);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &allowed) || index-- > 0)
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		return negated(sched_setaffinity(0, sizeof one, &one));
	}
	return -EINVAL;
}

int nt_set_offload(const char *device, enum nt_offload offload, uint32_t on)
{
	static const uint32_t commands[] = {
	    [NT_OFFLOAD_TX_CHECKSUM] = ETHTOOL_STXCSUM,
	    [NT_OFFLOAD_TSO] = ETHTOOL_STSO,
	    [NT_OFFLOAD_GSO] = ETHTOOL_SGSO,
	    [NT_OFFLOAD_GRO] = ETHTOOL_SGRO,
	};
	struct ethtool_value value = {.data = on};
	struct ifreq request = {0};

	if ((unsigned)offload >= sizeof commands / sizeof commands[0] ||
	    strlen(device) >= sizeof request.ifr_name)
		return -EINVAL;
	value.cmd = commands[offload];
	strcpy(request.ifr_name, device);
	request.ifr_data = (void *)&value;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	int result = negated(ioctl(fd, SIOCETHTOOL, &request));
	close(fd);
	return result;
}

int nt_receive_icmp_error(int fd, struct nt_icmp_error *error)
{
	_Alignas(struct cmsghdr) char control[512];
	char data[1];
	struct iovec vector = {.iov_base = data, .iov_len = sizeof data};
	struct msghdr message = {.msg_iov = &vector,
				 .msg_iovlen = 1,
				 .msg_control = control,
				 .msg_controllen = sizeof control};

	if (recvmsg(fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
		return -errno;
	for (struct cmsghdr *part = CMSG_FIRSTHDR(&message); part;
	     part = CMSG_NXTHDR(&message, part)) {
		bool v4 = part->cmsg_level == SOL_IP && part->cmsg_type == IP_RECVERR;
		bool v6 = part->cmsg_level == SOL_IPV6 && part->cmsg_type == IPV6_RECVERR;
		if (!v4 && !v6)
			continue;
		const struct sock_extended_err *what = (const void *)CMSG_DATA(part);
		const void *sender = SO_EE_OFFENDER(what);
		if (what->ee_origin != SO_EE_ORIGIN_ICMP && what->ee_origin != SO_EE_ORIGIN_ICMP6)
			return 0;
		*error = (struct nt_icmp_error){.type = what->ee_type,
						.code = what->ee_code,
						.family = v4 ? AF_INET : AF_INET6,
						.information = what->ee_info};
		if (v4)
			memcpy(error->sender, &((const struct sockaddr_in *)sender)->sin_addr, 4);
		else
			memcpy(error->sender, &((const struct sockaddr_in6 *)sender)->sin6_addr,
			       16);
		return 1;
	}
	return 0;
}

int nt_send_frame(int device, const void *bytes, size_t length)
{
	const struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_ifindex = device};
	// No protocol: it is for sending alone.
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	ssize_t sent = sendto(fd, bytes, length, 0, (const struct sockaddr *)&to, sizeof to);
	int result = sent < 0 ? -errno : 0;
	close(fd);
	return result;
}

int nt_load_xdp_pass(void)
{
	const struct bpf_insn program[] = {
	    {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = XDP_PASS},
	    {.code = BPF_JMP | BPF_EXIT},
	};
	union bpf_attr attributes = {
	    .prog_type = BPF_PROG_TYPE_XDP,
	    .insns = (uintptr_t)program,
	    .insn_cnt = sizeof program / sizeof program[0],
	    .license = (uintptr_t) "Dual BSD/GPL",
	};
	// The kernel makes it close-on-exec.
	return negated((int)syscall(SYS_bpf, BPF_PROG_LOAD, &attributes, sizeof attributes));
}

_Static_assert((uint32_t)NT_READABLE == (uint32_t)EPOLLIN &&
		   (uint32_t)NT_WRITABLE == (uint32_t)EPOLLOUT &&
		   (uint32_t)NT_ON_CHANGE == (uint32_t)EPOLLET,
	       "the kernel's numbers");

int nt_epoll_make(void)
{
	return negated(epoll_create1(EPOLL_CLOEXEC));
}

int nt_epoll_control(int epoll, int change, int fd, struct nt_epoll_event interest)
{
	struct epoll_event event = {.events = interest.events, .data.u32 = interest.number};
	return negated(epoll_ctl(epoll, change ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event));
}

int nt_epoll_wait(int epoll, struct nt_epoll_event *events, int milliseconds)
{
	struct epoll_event found[NT_MOST_EVENTS];
	int count = epoll_wait(epoll, found, NT_MOST_EVENTS, milliseconds);

	for (int i = 0; i < count; i++)
		events[i] =
		    (struct nt_epoll_event){.events = found[i].events, .number = found[i].data.u32};
	return count < 0 && errno == EINTR ? 0 : negated(count);
}

int nt_pipe(int *read_end, int *write_end)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	*read_end = ends[0];
	*write_end = ends[1];
	return 0;
}

int nt_accept(int listener)
{
	int fd;
	do
		fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	while (fd < 0 && errno == EINTR);
	return fd < 0 ? -errno : fd;
}

// Runs between fork and execve of a threaded process: async-signal-safe calls only.
static void become(const char *path, char *const arguments[], char *const environment[], int output,
		   int error, int report)
{
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	int input = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (input >= 0 && dup2(input, 0) >= 0 && dup2(output, 1) >= 0 && dup2(error, 2) >= 0)
		execve(path, arguments, environment ? environment : environ);
	int failure = errno;
	(void)!write(report, &failure, sizeof failure);
	_exit(127);
}

pid_t nt_spawn(const char *path, char *const arguments[], char *const environment[], int output,
	       int error)
{
	int report[2];
	int failure = 0;

	if (pipe2(report, O_CLOEXEC) < 0)
		return -errno;
	pid_t pid = fork();
	if (pid == 0)
		become(path, arguments, environment, output, error, report[1]);
	if (pid < 0)
		failure = errno;
	close(report[1]);
	// End of file means that execve closed the descriptor: the program runs.
	if (pid > 0 && read(report[0], &failure, sizeof failure) != sizeof failure)
		failure = 0;
	close(report[0]);
	if (pid > 0 && failure)
		waitpid(pid, NULL, 0);
	return failure ? -failure : pid;
}

int nt_process_descriptor(pid_t pid)
{
	return negated((int)syscall(SYS_pidfd_open, pid, 0));
}

int nt_process_end(pid_t pid, int *status)
{
	siginfo_t info = {0};
	int result;
	do
		result = waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT);
	while (result < 0 && errno == EINTR);
	if (result < 0)
		return -errno;
	*status = info.si_status;
	return info.si_code == CLD_EXITED ? 0 : 1;
}
