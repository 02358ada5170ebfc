#define _GNU_SOURCE
#include "CLibbpf.h"

#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <linux/membarrier.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <stdlib.h>

struct capture {
	bool active;
	char *text;
	size_t length;
	size_t capacity;
};

static _Thread_local struct capture capture;

static bool reserve(size_t more)
{
	size_t wanted = capture.length + more + 1;
	size_t capacity = capture.capacity ? capture.capacity : 4096;
	char *grown;

	if (wanted <= capture.capacity)
		return true;
	while (capacity < wanted)
		capacity *= 2;
	grown = realloc(capture.text, capacity);
	if (!grown)
		return false;
	capture.text = grown;
	capture.capacity = capacity;
	return true;
}

static int keep(enum libbpf_print_level level, const char *format, va_list arguments)
{
	/* libbpf reads errno after printing in places, and the caller reads it after libbpf. */
	int saved = errno;
	va_list again;
	int length;

	if (!capture.active || level == LIBBPF_DEBUG)
		return 0;
	va_copy(again, arguments);
	length = vsnprintf(NULL, 0, format, arguments);
	if (length > 0 && reserve((size_t)length)) {
		vsnprintf(capture.text + capture.length, (size_t)length + 1, format, again);
		capture.length += (size_t)length;
	}
	va_end(again);
	errno = saved;
	return length;
}

/* Before main, so that no call of libbpf, on whatever thread, can print to stderr. */
__attribute__((constructor)) static void install(void)
{
	libbpf_set_print(keep);
}

void clibbpf_capture_begin(void)
{
	free(capture.text);
	capture = (struct capture){.active = true};
}

char *clibbpf_capture_end(void)
{
	char *text = capture.text;

	capture = (struct capture){0};
	return text;
}

int clibbpf_unshare_network(void)
{
	return unshare(CLONE_NEWNET) ? -errno : 0;
}

int clibbpf_enter_network(int fd)
{
	return setns(fd, CLONE_NEWNET) ? -errno : 0;
}

int clibbpf_membarrier_global(void)
{
	return syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) ? -errno : 0;
}
