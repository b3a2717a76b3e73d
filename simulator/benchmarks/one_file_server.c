// SPDX-License-Identifier: Apache-2.0
// A file system of one file, as small as libfuse lets it be: what a live surface is measured against.
//
// One thread, no page cache (direct_io), names and attributes kept for a day: the same terms as raplica's server.
// Usage: one_file_server DIRECTORY
#define FUSE_USE_VERSION 31
#include <errno.h>
#include <fuse.h>
#include <stdio.h>
#include <string.h>

static const char *const name = "/energy_uj";
static unsigned long long energy_uj = 65532610987;

static void *begin(struct fuse_conn_info *connection, struct fuse_config *config)
{
	(void)connection;
	config->attr_timeout = config->entry_timeout = 86400;
	return NULL;
}

static int show_attributes(const char *path, struct stat *found, struct fuse_file_info *file)
{
	(void)file;
	memset(found, 0, sizeof *found);
	if (strcmp(path, "/") == 0) {
		found->st_mode = S_IFDIR | 0755;
		found->st_nlink = 2;
	} else if (strcmp(path, name) == 0) {
		found->st_mode = S_IFREG | 0400;
		found->st_nlink = 1;
		found->st_size = 4096;
	} else {
		return -ENOENT;
	}
	return 0;
}

static int open_file(const char *path, struct fuse_file_info *file)
{
	if (strcmp(path, name) != 0)
		return -ENOENT;
	file->direct_io = 1;
	return 0;
}

static int read_file(const char *path, char *buffer, size_t size, off_t offset, struct fuse_file_info *file)
{
	char text[32];
	int length = snprintf(text, sizeof text, "%llu\n", energy_uj++);

	(void)path;
	(void)file;
	if (offset >= length)
		return 0;
	if ((size_t)(length - offset) < size)
		size = length - offset;
	memcpy(buffer, text + offset, size);
	return size;
}

static const struct fuse_operations operations = {
	.init = begin,
	.getattr = show_attributes,
	.open = open_file,
	.read = read_file,
};

int main(int count, char **arguments)
{
	char *line[] = {arguments[0], "-f", "-s", "-o", "default_permissions", arguments[1], NULL};

	if (count != 2) {
		fprintf(stderr, "usage: %s DIRECTORY\n", arguments[0]);
		return 2;
	}
	return fuse_main(6, line, &operations, NULL);
}
