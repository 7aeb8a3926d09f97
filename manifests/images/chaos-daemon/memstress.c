// SPDX-License-Identifier: Apache-2.0
//
// memStress --workers N --size SIZE [--print]
//
// Keeps SIZE bytes in total resident, split over N processes, until it is terminated: the
// interface that chaos-daemon expects of the program of this name. A size is read as Chaos Mesh's
// own injector reads it (memStress v0.3.1): a number, which may have a fraction, and a unit, in either case: B;
// K, M, G, T with or without a B are decimal, Ki, Mi, Gi, Ti binary; % is a share of the
// machine's memory. The daemon splits its command line at blanks, so that the unit may come as
// an argument of its own: `--size 512 MB`. --print prints the bytes and keeps none.
#define _GNU_SOURCE
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

// unit returns how many bytes a unit is, 0 if it is none.
static double unit(const char *text) {
	static const char *const prefixes = "KMGT";
	if (*text == '\0' || strcasecmp(text, "B") == 0)
		return 1;
	const char *prefix = strchr(prefixes, *text >= 'a' ? *text - 'a' + 'A' : *text);
	if (prefix == NULL)
		return 0;
	text++;
	double base = 1000, bytes = 1;
	if (*text == 'i' || *text == 'I') {
		base = 1024;
		text++;
	}
	if (*text != '\0' && strcasecmp(text, "B") != 0)
		return 0;
	for (; prefix >= prefixes; prefix--)
		bytes *= base;
	return bytes;
}

// parse_size returns the bytes of a size, -1 if it is none.
static long long parse_size(const char *text) {
	size_t digits = strspn(text, "0123456789.");
	char *end;
	double n = strtod(text, &end);
	if (digits == 0 || end != text + digits) // no number, or one that has no digits only, like 1e3
		return -1;
	double bytes;
	if (strcmp(end, "%") == 0)
		bytes = n > 100 ? 0 : n / 100 * sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
	else
		bytes = n * unit(end);
	return bytes < 1 || bytes >= (double)LLONG_MAX ? -1 : (long long)bytes;
}

static int usage(void) {
	fprintf(stderr, "memStress: usage: memStress --workers N --size SIZE [--print]; SIZE is like 512MB, 0.5GiB or 50%%\n");
	return 2;
}

int main(int argc, char **argv) {
	long workers = 1;
	char size_text[64] = "";
	int print = 0;

	for (int i = 1; i < argc; i++) {
		char *end = "";
		if (strcmp(argv[i], "--print") == 0) {
			print = 1;
		} else if (strcmp(argv[i], "--workers") == 0 && i + 1 < argc) {
			workers = strtol(argv[++i], &end, 10);
		} else if (strcmp(argv[i], "--size") == 0 && i + 1 < argc) {
			const char *number = argv[++i], *its_unit = "";
			if (i + 1 < argc && strncmp(argv[i + 1], "--", 2) != 0)
				its_unit = argv[++i];
			if (snprintf(size_text, sizeof(size_text), "%s%s", number, its_unit) >= (int)sizeof(size_text))
				return usage();
		} else {
			return usage();
		}
		if (workers < 1 || *end != '\0')
			return usage();
	}
	long long size = parse_size(size_text);
	if (size < 0)
		return usage();
	if (print) {
		printf("%lld\n", size);
		return 0;
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
