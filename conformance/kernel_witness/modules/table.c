// SPDX-License-Identifier: GPL-2.0-only
/*
 * A table in place of the RAPL registers: what each holds, which accesses fail, which bits stick, and who asked.
 *
 * /proc/raplica/registers  write: one command, see command_table[]; read: the whole table
 * /proc/raplica/accesses   read: what the driver did since the last write to this file; write: forget it
 * /proc/raplica/console    write: goes to QEMU's debug console, port 0xe9
 */
#include <linux/init.h>
#include <linux/io.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/proc_fs.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#include "raplica_table.h"

#define LOG_BYTES (4 << 20)
#define COMMAND_BYTES 160
#define DEBUG_PORT 0xe9

enum { FAULT_READ = 1, FAULT_WRITE = 2 };

struct entry {
	struct list_head node;
	u32 die;
	u64 address;
	u64 value;
	u64 write_mask;
	u64 locked_by;	/* a write is dropped while the content has one of these bits */
	u32 faults;
	u64 steps_per_second;	/* how fast the low 32 bits count up by themselves */
	u64 counted_at_ns;
};

static LIST_HEAD(table);
static DEFINE_SPINLOCK(table_lock);
static char *log_text;
static size_t log_used;
static bool log_full;

/* Which die each processor lies on is a fact of the machine, and not asked from the kernel that is being watched. */
static unsigned int die_of_cpu[NR_CPUS > 64 ? 64 : NR_CPUS];
static unsigned int dies_given;
module_param_array_named(dies, die_of_cpu, uint, &dies_given, 0444);
MODULE_PARM_DESC(dies, "the logical die of processor 0, 1, ...; all 0 where it is left out");

static struct entry *find(u32 die, u64 address)
{
	struct entry *entry;

	list_for_each_entry(entry, &table, node)
		if (entry->die == die && entry->address == address)
			return entry;
	return NULL;
}

static void count(struct entry *entry)
{
	u64 now, steps;

	if (!entry->steps_per_second)
		return;
	now = ktime_get_ns();
	steps = mul_u64_u64_div_u64(now - entry->counted_at_ns, entry->steps_per_second, NSEC_PER_SEC);
	if (!steps)
		return;
	entry->counted_at_ns += mul_u64_u64_div_u64(steps, NSEC_PER_SEC, entry->steps_per_second);
	entry->value = (entry->value & ~0xffffffffULL) | (u32)(entry->value + steps);
}

static __printf(1, 2) void note(const char *format, ...)
{
	va_list args;
	size_t room = LOG_BYTES - log_used;
	int length;

	va_start(args, format);
	length = vsnprintf(log_text + log_used, room, format, args);
	va_end(args);
	if (length >= room)
		log_full = true;
	else
		log_used += length;
}

static void note_access(char how, u32 die, int cpu, u64 address, u64 mask, u64 value, const struct entry *entry,
			int error)
{
	note("%c die%u cpu%d 0x%llx mask=0x%llx val=0x%llx reg=0x%llx err=%d\n", how, die, cpu, address, mask, value,
	     entry ? entry->value : 0, error);
}

u32 raplica_die_of(int cpu)
{
	return cpu >= 0 && cpu < ARRAY_SIZE(die_of_cpu) ? die_of_cpu[cpu] : 0;
}

/* The driver's read: the bits of the mask, in their place; -EIO where the instruction would fault. */
int raplica_read(u32 die, int cpu, u64 address, u64 mask, u64 *value)
{
	struct entry *entry;
	unsigned long flags;
	int error = 0;

	spin_lock_irqsave(&table_lock, flags);
	entry = find(die, address);
	if (!entry || entry->faults & FAULT_READ)
		error = -EIO;
	else
		count(entry);
	*value = error ? 0 : entry->value & mask;
	note_access('r', die, cpu, address, mask, *value, entry, error);
	spin_unlock_irqrestore(&table_lock, flags);
	return error;
}

/* The driver's write: a read, the bits of the mask replaced, a write; what sticks is up to the table. */
int raplica_write(u32 die, int cpu, u64 address, u64 mask, u64 value)
{
	struct entry *entry;
	unsigned long flags;
	int error = 0;

	spin_lock_irqsave(&table_lock, flags);
	entry = find(die, address);
	if (!entry || entry->faults) {
		error = -EIO;
	} else if (!(entry->value & entry->locked_by)) {
		u64 wanted = (entry->value & ~mask) | value;

		entry->value = (entry->value & ~entry->write_mask) | (wanted & entry->write_mask);
	}
	note_access('w', die, cpu, address, mask, value, entry, error);
	spin_unlock_irqrestore(&table_lock, flags);
	return error;
}

/* What a register holds, for who lays out memory; 0 where there is none. */
u64 raplica_content(u32 die, u64 address)
{
	struct entry *entry;
	unsigned long flags;
	u64 value;

	spin_lock_irqsave(&table_lock, flags);
	entry = find(die, address);
	value = entry ? entry->value : 0;
	spin_unlock_irqrestore(&table_lock, flags);
	return value;
}
EXPORT_SYMBOL_GPL(raplica_content);

/* Commands. All take a die and an address, but for clear. */

static void remove_all(void)
{
	struct entry *entry, *next;

	list_for_each_entry_safe(entry, next, &table, node) {
		list_del(&entry->node);
		kfree(entry);
	}
}

static void insert(struct entry *new)
{
	struct entry *entry;

	list_for_each_entry(entry, &table, node)
		if (entry->die > new->die || (entry->die == new->die && entry->address > new->address))
			break;
	list_add_tail(&new->node, &entry->node);
}

static int set(u32 die, u64 address, u64 value)
{
	struct entry *entry = find(die, address);

	if (!entry) {
		entry = kzalloc(sizeof(*entry), GFP_ATOMIC);
		if (!entry)
			return -ENOMEM;
		entry->die = die;
		entry->address = address;
		entry->write_mask = ~0ULL;
		insert(entry);
	}
	entry->value = value;
	entry->counted_at_ns = ktime_get_ns();
	return 0;
}

static int change(const char *verb, struct entry *entry, u64 value)
{
	if (!entry)
		return -ENOENT;
	if (!strcmp(verb, "fault"))
		entry->faults = value;
	else if (!strcmp(verb, "wmask"))
		entry->write_mask = value;
	else if (!strcmp(verb, "ignlock"))
		entry->locked_by = value;
	else if (!strcmp(verb, "rate")) {
		count(entry);
		entry->steps_per_second = value;
		entry->counted_at_ns = ktime_get_ns();
	} else if (!strcmp(verb, "drop")) {
		list_del(&entry->node);
		kfree(entry);
	} else
		return -EINVAL;
	return 0;
}

/* clear | set DIE REG VALUE | fault DIE REG 1 read 2 write 3 both | wmask DIE REG MASK | ignlock DIE REG MASK |
 * rate DIE REG STEPS_PER_SECOND | drop DIE REG
 */
static int obey(const char *text)
{
	char verb[16];
	u32 die = 0;
	u64 address = 0, value = 0;
	int parts = sscanf(text, "%15s %u %lli %lli", verb, &die, &address, &value);

	if (parts >= 1 && !strcmp(verb, "clear")) {
		remove_all();
		return 0;
	}
	if (parts < 3 || (parts < 4 && strcmp(verb, "drop")))
		return -EINVAL;
	return strcmp(verb, "set") ? change(verb, find(die, address), value) : set(die, address, value);
}

static ssize_t registers_write(struct file *file, const char __user *from, size_t length, loff_t *position)
{
	char text[COMMAND_BYTES];
	unsigned long flags;
	int error;

	if (length >= sizeof(text))
		return -EINVAL;
	if (copy_from_user(text, from, length))
		return -EFAULT;
	text[length] = '\0';
	spin_lock_irqsave(&table_lock, flags);
	error = obey(text);
	spin_unlock_irqrestore(&table_lock, flags);
	return error ? error : length;
}

static int registers_show(struct seq_file *out, void *unused)
{
	struct entry *entry;
	unsigned long flags;

	spin_lock_irqsave(&table_lock, flags);
	list_for_each_entry(entry, &table, node) {
		count(entry);
		seq_printf(out, "%u 0x%llx 0x%016llx fault=%u ignlock=0x%llx wmask=0x%llx\n", entry->die,
			   entry->address, entry->value, entry->faults, entry->locked_by, entry->write_mask);
	}
	spin_unlock_irqrestore(&table_lock, flags);
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

/* The log of accesses. One process reads it, between steps. */

static ssize_t accesses_read(struct file *file, char __user *to, size_t length, loff_t *position)
{
	if (log_full)
		return -EOVERFLOW;
	return simple_read_from_buffer(to, length, position, log_text, log_used);
}

static ssize_t accesses_write(struct file *file, const char __user *from, size_t length, loff_t *position)
{
	unsigned long flags;

	spin_lock_irqsave(&table_lock, flags);
	log_used = 0;
	log_full = false;
	spin_unlock_irqrestore(&table_lock, flags);
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
	remove_all();
	vfree(log_text);
}

module_init(start);
module_exit(stop);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("raplica: a table in place of the RAPL registers");
