/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A reader of energy counters in C, and the suite's cases held against it, with nothing but the files of an export.
 *
 *     export_reader [--no-wrap] EXPORT CASE
 *
 * It adds up differences of energy_uj and puts right one wrap by the zone's range and one step. With --no-wrap it
 * does not. That is all it knows: it bounds no power, so it takes every step backward for a wrap. Prints a line for
 * each expectation of powercap that it does not meet; exit 0 where it meets all, 1 where not, 2 for what is no case.
 */
#define _POSIX_C_SOURCE 200809L
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MOST_ZONES = 128, MOST_STEPS = 256, ROOM = 512, NAMES = 2048 };

struct answer {
	bool listed, known;
	int64_t energy_uj;
};

struct zone {
	char path[ROOM];
	bool has_baseline, lost;
	int64_t last_uj, sum_uj;
	struct answer after[MOST_STEPS];
};

static struct zone zones[MOST_ZONES];
static int zone_count;
static struct answer totals[MOST_STEPS];
static bool no_wrap;

static void die(const char *what, const char *where)
{
	fprintf(stderr, "export_reader: %s: %s\n", where, what);
	exit(2);
}

static void joined(char *out, size_t room, const char *one, const char *two)
{
	if ((size_t)snprintf(out, room, "%s/%s", one, two) >= room)
		die("path is too long", one);
}

/* The text of a file without its newline; false where it is not there. */
static bool text_of(const char *directory, const char *name, char *text, size_t room)
{
	char path[NAMES];
	joined(path, sizeof(path), directory, name);
	FILE *file = fopen(path, "r");
	if (file == NULL)
		return false;
	size_t size = fread(text, 1, room - 1, file);
	fclose(file);
	text[size] = '\0';
	text[strcspn(text, "\n")] = '\0';
	return size > 0;
}

static bool number_of(const char *directory, const char *name, int64_t *number)
{
	char text[64], *end;
	if (!text_of(directory, name, text, sizeof(text)))
		return false;
	errno = 0;
	*number = strtoll(text, &end, 10);
	return errno == 0 && end != text && *end == '\0';
}

static bool starts(const char *text, const char *with)
{
	return strncmp(text, with, strlen(with)) == 0;
}

/* The names from the top of the tree: an entry's parent is called as it is, without what follows its last "%3A". */
static void path_of(const char *class, const char *entry, char *path, size_t room)
{
	char here[ROOM], name[ROOM], directory[NAMES], above[ROOM] = "";
	snprintf(here, sizeof(here), "%s", entry);
	char *last = NULL;
	for (char *at = here; (at = strstr(at, "%3A")) != NULL; at += 3)
		last = at;
	joined(directory, sizeof(directory), class, here);
	if (!text_of(directory, "name", name, sizeof(name)))
		snprintf(name, sizeof(name), "%s", entry);
	*last = '\0';
	if (strstr(here, "%3A") != NULL)
		path_of(class, here, above, sizeof(above));
	else if (strcmp(here, "intel-rapl") != 0)
		snprintf(above, sizeof(above), "%s", here);
	if (*above == '\0')
		snprintf(path, room, "%s", name);
	else
		joined(path, room, above, name);
}

static struct zone *zone_called(const char *path)
{
	for (int i = 0; i < zone_count; i++)
		if (strcmp(zones[i].path, path) == 0)
			return &zones[i];
	if (zone_count == MOST_ZONES)
		die("too many zones", path);
	snprintf(zones[zone_count].path, sizeof(zones[0].path), "%s", path);
	return &zones[zone_count++];
}

/* Whole steps make the period: the range is that of 2^32 - 1 of them, each worth a whole number of nanojoules. */
static int64_t period_uj(int64_t range_uj)
{
	int64_t steps = INT64_C(4294967295);
	int64_t unit_nj = (int64_t)(((__int128)range_uj * 1000 + steps - 1) / steps);
	return (int64_t)((__int128)unit_nj * (steps + 1) / 1000);
}

static void book(struct zone *zone, const char *directory, int step)
{
	int64_t energy_uj, range_uj;
	struct answer *answer = &zone->after[step];
	answer->listed = true;
	if (!number_of(directory, "energy_uj", &energy_uj)) {
		zone->lost = zone->lost || !zone->has_baseline;
		return;
	}
	if (zone->has_baseline) {
		int64_t spent_uj = energy_uj - zone->last_uj;
		if (spent_uj < 0 && !no_wrap) {
			if (number_of(directory, "max_energy_range_uj", &range_uj))
				spent_uj += period_uj(range_uj);
			else
				zone->lost = true;
		}
		zone->sum_uj += spent_uj;
	} else if (step > 0) {
		zone->lost = true;
	}
	zone->has_baseline = true;
	zone->last_uj = energy_uj;
	answer->known = !zone->lost;
	answer->energy_uj = zone->sum_uj;
}

static bool counts_in_total(const char *path)
{
	const char *below = strchr(path, '/');
	return starts(path, "package-") && (below == NULL || strcmp(below, "/dram") == 0);
}

static bool sample(const char *directory, int step)
{
	char name[32], root[NAMES], class[NAMES];
	struct stat status;
	snprintf(name, sizeof(name), "step-%02d", step);
	joined(root, sizeof(root), directory, name);
	if (stat(root, &status) != 0) { /* more than 100 samples have three digits each */
		snprintf(name, sizeof(name), "step-%03d", step);
		joined(root, sizeof(root), directory, name);
		if (stat(root, &status) != 0)
			return false;
	}
	joined(class, sizeof(class), root, "class/powercap");
	DIR *listing = opendir(class);
	for (struct dirent *entry; listing != NULL && (entry = readdir(listing)) != NULL;) {
		char below[NAMES], path[ROOM];
		if (strstr(entry->d_name, "%3A") == NULL)
			continue; /* a control type */
		joined(below, sizeof(below), class, entry->d_name);
		path_of(class, entry->d_name, path, sizeof(path));
		book(zone_called(path), below, step);
	}
	if (listing != NULL)
		closedir(listing);
	int counted = 0, known = 0;
	for (int i = 0; i < zone_count; i++) {
		if (!counts_in_total(zones[i].path))
			continue;
		counted++;
		known += zones[i].after[step].known;
		totals[step].energy_uj += zones[i].after[step].energy_uj;
	}
	totals[step].listed = true;
	totals[step].known = counted > 0 && known == counted;
	return true;
}

/* What was said between two samples; at the baseline nothing was spent. */
static struct answer between(const char *domain, int from, int to)
{
	struct answer none = {false, false, 0}, first = none, last = none;
	if (strcmp(domain, "total") == 0) {
		first = totals[from], last = totals[to];
	} else {
		for (int i = 0; i < zone_count; i++)
			if (strcmp(zones[i].path, domain) == 0)
				first = zones[i].after[from], last = zones[i].after[to];
	}
	last.known = last.known && (from == 0 || first.known);
	last.energy_uj -= from == 0 ? 0 : first.energy_uj;
	return last;
}

static bool is_right(const char *energy, struct answer said, const char *least, const char *most)
{
	if (strcmp(energy, "absent") == 0)
		return !said.listed;
	if (strcmp(energy, "listed") == 0)
		return said.listed;
	if (strcmp(energy, "error") == 0)
		return said.listed && !said.known;
	if (strcmp(energy, "unknown") == 0)
		return !said.known;
	if (!said.known)
		return strcmp(energy, "truth") != 0 && strcmp(energy, "zero") != 0;
	return said.energy_uj >= strtoll(least, NULL, 10) &&
	       (strcmp(most, "-") == 0 || said.energy_uj <= strtoll(most, NULL, 10));
}

int main(int count, char **words)
{
	no_wrap = count == 4 && strcmp(words[1], "--no-wrap") == 0;
	if (count != 3 && !no_wrap)
		die("usage: export_reader [--no-wrap] EXPORT CASE", "wrong words");
	char directory[NAMES], path[NAMES], line[NAMES];
	joined(directory, sizeof(directory), words[count - 2], words[count - 1]);
	int steps = 0, judged = 0, wrong = 0;
	while (steps < MOST_STEPS && sample(directory, steps))
		steps++;
	joined(path, sizeof(path), directory, "expect.tsv");
	FILE *file = fopen(path, "r");
	if (file == NULL || steps == 0)
		die("is no case of an export", directory);
	while (fgets(line, sizeof(line), file) != NULL) {
		char interface[16], domain[ROOM], energy[32], least[32], most[32];
		int from, to;
		if (sscanf(line, "%15s %511s %31s %d %d %31s %31s", interface, domain, energy, &from, &to, least, most) != 7 ||
		    from < 0 || to >= steps)
			die("is no expectation", line);
		if (strcmp(interface, "powercap") != 0)
			continue;
		judged++;
		struct answer said = between(domain, from, to);
		if (is_right(energy, said, least, most))
			continue;
		wrong++;
		if (said.known)
			printf("%s: %s: %" PRId64 " uJ, right is %s from %s to %s\n", words[count - 1], domain, said.energy_uj,
			       energy, least, most);
		else
			printf("%s: %s: %s, right is %s from %s to %s\n", words[count - 1], domain,
			       said.listed ? "unknown" : "not listed", energy, least, most);
	}
	fclose(file);
	if (judged == 0)
		die("has no expectation of powercap", words[count - 1]);
	return wrong > 0;
}
