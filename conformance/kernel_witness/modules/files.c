// SPDX-License-Identifier: GPL-2.0-only
/*
 * The files of the table, the log of who asked it, and the module's coming and going.
 *
 * /proc/raplica/registers  write: one command, see raplica_obey() in table.c; read: the whole table
 * /proc/raplica/accesses   read: what the drivers did since the last write to this file; write: forget it
 * /proc/raplica/console    write: goes to QEMU's debug console, port 0xe9
 */
#include <linux/init.h>
#include <linux/io.h>
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/sched.h>
#include <linux/spinlock.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#include "raplica_table.h"

#define LOG_BYTES (4 << 20)
#define COMMAND_BYTES 160
#define DEBUG_PORT 0xe9

static char *log_text;
static size_t log_used;
static bool log_full;
static DEFINE_SPINLOCK(log_lock);

void raplica_note(const char *format, ...)
{
	unsigned long flags;
	va_list args;
	size_t room;
	int length;

	spin_lock_irqsave(&log_lock, flags);
	room = LOG_BYTES - log_used;
	va_start(args, format);
	length = vsnprintf(log_text + log_used, room, format, args);
	va_end(args);
	if (length >= room)
		log_full = true;
	else
		log_used += length;
	spin_unlock_irqrestore(&log_lock, flags);
}

static ssize_t registers_write(struct file *file, const char __user *from, size_t length, loff_t *position)
{
	char text[COMMAND_BYTES];
	int error;

	if (length >= sizeof(text))
		return -EINVAL;
	if (copy_from_user(text, from, length))
		return -EFAULT;
	text[length] = '\0';
	error = raplica_obey(text);
	return error ? error : length;
}

static int registers_show(struct seq_file *out, void *unused)
{
	raplica_show(out);
	return 0;
}

static int registers_open(struct inode *inode, struct file *file)
{
	return single_open(file, registers_show, NULL);
}

static const struct proc_ops registers_ops = {
	.proc_open = registers_open,
	.proc_read = seq_read,
	.proc_lseek = seq_lseek,
	.proc_release = single_release,
	.proc_write = registers_write,
};

/* One process reads the log, between steps. */

static ssize_t accesses_read(struct file *file, char __user *to, size_t length, loff_t *position)
{
	if (log_full)
		return -EOVERFLOW;
	return simple_read_from_buffer(to, length, position, log_text, log_used);
}

static ssize_t accesses_write(struct file *file, const char __user *from, size_t length, loff_t *position)
{
	unsigned long flags;

	spin_lock_irqsave(&log_lock, flags);
	log_used = 0;
	log_full = false;
	spin_unlock_irqrestore(&log_lock, flags);
	return length;
}

static const struct proc_ops accesses_ops = {
	.proc_read = accesses_read,
	.proc_lseek = default_llseek,
	.proc_write = accesses_write,
};

static ssize_t console_write(struct file *file, const char __user *from, size_t length, loff_t *position)
{
	char bytes[512];
	size_t part, done;

	for (done = 0; done < length; done += part) {
		part = min(length - done, sizeof(bytes));
		if (copy_from_user(bytes, from + done, part))
			return -EFAULT;
		outsb(DEBUG_PORT, bytes, part);
		cond_resched();
	}
	return length;
}

static const struct proc_ops console_ops = { .proc_write = console_write };

static int __init start(void)
{
	struct proc_dir_entry *folder;
	int error;

	log_text = vmalloc(LOG_BYTES);
	if (!log_text)
		return -ENOMEM;
	folder = proc_mkdir("raplica", NULL);
	if (!folder || !proc_create("registers", 0600, folder, &registers_ops) ||
	    !proc_create("accesses", 0600, folder, &accesses_ops) ||
	    !proc_create("console", 0200, folder, &console_ops)) {
		error = -ENOMEM;
		goto undo;
	}
	error = raplica_divert_start();
	if (!error)
		return 0;
undo:
	remove_proc_subtree("raplica", NULL);
	vfree(log_text);
	return error;
}

static void __exit stop(void)
{
	raplica_divert_stop();
	remove_proc_subtree("raplica", NULL);
	raplica_obey("clear");
	vfree(log_text);
}

module_init(start);
module_exit(stop);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("raplica: a table in place of the RAPL registers");
