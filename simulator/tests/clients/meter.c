/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An energy meter as people write them: the paths are fixed, nothing can be told to look elsewhere, and it is linked
 * statically. It meters every zone of powercap and the package of processor 0 through its registers.
 *
 * meter MILLISECONDS prints a line for each: `intel-rapl:0 package-0 52.031005` (joules), `msr 0x611 52.030029`.
 */
#define _FILE_OFFSET_BITS 64
#define _POSIX_C_SOURCE 200809L
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define POWERCAP "/sys/class/powercap"
#define MSR "/dev/cpu/0/msr"
#define MSR_RAPL_POWER_UNIT 0x606
#define MSR_PKG_ENERGY_STATUS 0x611
#define MOST_ZONES 64

struct zone {
	char id[64];
	char name[64];
	uint64_t range_uj;
	uint64_t before_uj;
};

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void attribute(const char *id, const char *file, char *text, size_t size)
{
	char path[256];
	ssize_t got;
	int descriptor;

	snprintf(path, sizeof(path), POWERCAP "/%s/%s", id, file);
	descriptor = open(path, O_RDONLY | O_CLOEXEC);
	if (descriptor < 0)
		fail(path);
	got = read(descriptor, text, size - 1);
	if (got < 0)
		fail(path);
	close(descriptor);
	text[got] = '\0';
	text[strcspn(text, "\n")] = '\0';
}

static uint64_t number(const char *id, const char *file)
{
	char text[32];

	attribute(id, file, text, sizeof(text));
	return strtoull(text, NULL, 10);
}

static uint64_t msr(int descriptor, off_t address)
{
	uint64_t word;

	if (pread(descriptor, &word, sizeof(word), address) != sizeof(word))
		fail(MSR);
	return word;
}

static int find_zones(struct zone *zones)
{
	struct dirent *entry;
	DIR *directory = opendir(POWERCAP);
	int count = 0;

	if (!directory)
		fail(POWERCAP);
	while ((entry = readdir(directory)) && count < MOST_ZONES) {
		/* Zones have a colon, control types have none. */
		if (!strchr(entry->d_name, ':') || strlen(entry->d_name) >= sizeof(zones->id))
			continue;
		strcpy(zones[count].id, entry->d_name);
		attribute(entry->d_name, "name", zones[count].name, sizeof(zones->name));
		zones[count].range_uj = number(entry->d_name, "max_energy_range_uj");
		count++;
	}
	closedir(directory);
	return count;
}

int main(int argc, char **argv)
{
	static struct zone zones[MOST_ZONES];
	long window_ms = argc > 1 ? atol(argv[1]) : 1000;
	struct timespec window = {window_ms / 1000, window_ms % 1000 * 1000000};
	int count = find_zones(zones);
	int registers = open(MSR, O_RDONLY | O_CLOEXEC);
	double joules_per_step;
	uint32_t before, steps;

	if (registers < 0)
		fail(MSR);
	joules_per_step = 1.0 / (double)(1u << (msr(registers, MSR_RAPL_POWER_UNIT) >> 8 & 0x1f));
	for (int i = 0; i < count; i++)
		zones[i].before_uj = number(zones[i].id, "energy_uj");
	before = (uint32_t)msr(registers, MSR_PKG_ENERGY_STATUS);
	nanosleep(&window, NULL);
	for (int i = 0; i < count; i++) {
		uint64_t after_uj = number(zones[i].id, "energy_uj");

		/* The counter starts again one step after its range: a few dozen microjoules that do not matter here. */
		if (after_uj < zones[i].before_uj)
			after_uj += zones[i].range_uj;
		printf("%s %s %.6f\n", zones[i].id, zones[i].name, (double)(after_uj - zones[i].before_uj) / 1e6);
	}
	steps = (uint32_t)msr(registers, MSR_PKG_ENERGY_STATUS) - before;
	printf("msr 0x611 %.6f\n", (double)steps * joules_per_step);
	return 0;
}
