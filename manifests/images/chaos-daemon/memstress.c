// SPDX-License-Identifier: Apache-2.0
//
// memStress --workers N --size SIZE
//
// Keeps SIZE bytes in total (suffixes B, KB, MB, GB and KiB, MiB, GiB; or a percentage of the
// memory) resident, split over N processes, until it is terminated: the interface
// that chaos-daemon expects of the program of this name.
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static long long parse_size(const char *text) {
	static const struct {
		const char *suffix;
		long long factor;
	} units[] = {
		{"", 1}, {"B", 1}, {"KB", 1000LL}, {"MB", 1000000LL}, {"GB", 1000000000LL},
		{"K", 1 << 10}, {"M", 1 << 20}, {"G", 1 << 30}, {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30},
	};
	char *end;
	errno = 0;
	long long n = strtoll(text, &end, 10);
	if (errno != 0 || end == text || n <= 0)
		return -1;
	if (strcmp(end, "%") == 0)
		return n > 100 ? -1 : sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE) / 100 * n;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (strcasecmp(end, units[i].suffix) == 0)
			return n * units[i].factor;
	return -1;
}

int main(int argc, char **argv) {
	long workers = 1;
	long long size = -1;

	for (int i = 1; i + 1 < argc; i += 2) {
		if (strcmp(argv[i], "--workers") == 0)
			workers = strtol(argv[i + 1], NULL, 10);
		else if (strcmp(argv[i], "--size") == 0)
			size = parse_size(argv[i + 1]);
		else
			size = -2;
		if (workers < 1 || size == -2) {
			fprintf(stderr, "memStress: usage: memStress --workers N --size SIZE\n");
			return 2;
		}
	}
	if (size < 0) {
		fprintf(stderr, "memStress: --size wants a number with B, KB, MB, GB or %%\n");
		return 2;
	}
	for (long w = 0; w < workers; w++) {
		pid_t pid = fork();
		if (pid < 0) {
			perror("memStress: fork");
			return 1;
		}
		if (pid > 0)
			continue;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		char *memory = mmap(NULL, size / workers, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (memory == MAP_FAILED) {
			perror("memStress: mmap");
			_exit(1);
		}
		for (;;) { // touch every page again and again, so that it stays
			memset(memory, 0x5a, size / workers);
			sleep(1);
		}
	}
	for (;;)
		pause();
}
