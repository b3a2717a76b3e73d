// SPDX-License-Identifier: Apache-2.0

/* Load what `raplica generate kabylake DIR` wrote, and list its zones. */

#include <glob.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>

/* Print the id and the energy in microjoules of each zone below a /sys root; the number of zones, or -1. */
static int list_zones(const char *sys)
{
	char pattern[4096];
	glob_t found;
	snprintf(pattern, sizeof(pattern), "%s/class/powercap/*:*/energy_uj", sys);
	if (glob(pattern, 0, NULL, &found) != 0)
		return -1;
	int zones = (int)found.gl_pathc;
	for (size_t i = 0; i < found.gl_pathc && zones > 0; i++) {
		uint64_t energy_uj = 0;
		FILE *file = fopen(found.gl_pathv[i], "r");
		if (file == NULL || fscanf(file, "%" SCNu64, &energy_uj) != 1)
			zones = -1;
		else
			printf("%s %" PRIu64 "\n", basename(dirname(found.gl_pathv[i])), energy_uj);
		if (file != NULL)
			fclose(file);
	}
	globfree(&found);
	return zones;
}

int main(int argc, char **argv)
{
	return argc == 2 && list_zones(argv[1]) > 0 ? 0 : 1;
}
