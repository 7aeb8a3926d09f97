// SPDX-License-Identifier: Apache-2.0
//
// A library to preload: once the program and its libraries are loaded it enters the mount
// namespace that NSEXEC_MNT is an open descriptor of, before main. So a program of the
// daemon's image runs in a container that has none of its libraries.
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

__attribute__((constructor)) static void enter(void) {
	const char *number = getenv("NSEXEC_MNT");
	int fd = number ? atoi(number) : -1;

	if (setns(fd, CLONE_NEWNS) != 0) {
		fprintf(stderr, "nsenter: enter the mount namespace: %s\n", strerror(errno));
		_exit(1);
	}
	close(fd);
	unsetenv("NSEXEC_MNT");
	unsetenv("LD_PRELOAD");
}
