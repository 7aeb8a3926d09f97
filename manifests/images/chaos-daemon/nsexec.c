// SPDX-License-Identifier: Apache-2.0
//
// nsexec [-l] -{n,p,m,i,u,c} /proc/PID/ns/TYPE ... -- COMMAND [ARG ...]
//
// Runs COMMAND as a child in the given namespaces, forwards SIGTERM and SIGINT to
// it as SIGTERM, and returns its exit status: the interface that chaos-daemon
// expects of the program of this name. nsenter does not do: it leaves the child
// behind when it is terminated.
//
// With -l COMMAND is one of the caller's own mount namespace, and enters the one of -m
// itself: NSEXEC_MNT in its environment is an open descriptor of that.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile pid_t child;

static void forward(int signal) {
	(void)signal;
	if (child > 0)
		kill(child, SIGTERM);
}

int main(int argc, char **argv) {
	int fds[8], n = 0, i = 1, local = 0;

	for (; i < argc && strcmp(argv[i], "--") != 0; i++) {
		if (strcmp(argv[i], "-l") == 0) {
			local = 1;
			continue;
		}
		if (argv[i][0] != '-' || strchr("npmiuc", argv[i][1]) == NULL || i + 1 >= argc || n == 8) {
			fprintf(stderr, "nsexec: %s is not supported here\n", argv[i]);
			return 2;
		}
		int left = local && argv[i][1] == 'm'; // to the command
		fds[n] = open(argv[++i], left ? O_RDONLY : O_RDONLY | O_CLOEXEC);
		if (fds[n] < 0) {
			fprintf(stderr, "nsexec: %s: %s\n", argv[i], strerror(errno));
			return 1;
		}
		if (left) {
			char number[16];
			snprintf(number, sizeof number, "%d", fds[n]);
			setenv("NSEXEC_MNT", number, 1);
			continue;
		}
		n++;
	}
	if (i + 1 >= argc) {
		fprintf(stderr, "nsexec: no command after --\n");
		return 2;
	}
	// All are open before the first is entered: a mount namespace hides the paths.
	for (int j = 0; j < n; j++) {
		if (setns(fds[j], 0) != 0) {
			fprintf(stderr, "nsexec: setns: %s\n", strerror(errno));
			return 1;
		}
	}

	struct sigaction action = {.sa_handler = forward};
	sigset_t both, before;
	sigemptyset(&both);
	sigaddset(&both, SIGTERM);
	sigaddset(&both, SIGINT);
	sigprocmask(SIG_BLOCK, &both, &before); // none is lost between fork and the handler
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);

	child = fork();
	if (child < 0) {
		fprintf(stderr, "nsexec: fork: %s\n", strerror(errno));
		return 1;
	}
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL); // nothing is left if nsexec is killed
		signal(SIGTERM, SIG_DFL);
		signal(SIGINT, SIG_DFL);
		sigprocmask(SIG_SETMASK, &before, NULL);
		execvp(argv[i + 1], &argv[i + 1]);
		fprintf(stderr, "nsexec: %s: %s\n", argv[i + 1], strerror(errno));
		_exit(127);
	}
	sigprocmask(SIG_SETMASK, &before, NULL);

	int status;
	while (waitpid(child, &status, 0) < 0) {
		if (errno != EINTR)
			return 1;
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
