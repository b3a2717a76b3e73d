// SPDX-License-Identifier: GPL-2.0-only
/*
 * A table in place of the RAPL registers: what each holds, which accesses fail, which bits stick, how fast it counts.
 *
 * It has a time of its own, which stands still until it is moved: then all counters move at one stroke. As a
 * processor's do, they show what they counted up to the last whole millisecond.
 */
#include <linux/list.h>
#include <linux/math64.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

#include "raplica_table.h"

#define GRID_NS NSEC_PER_MSEC

enum { FAULT_READ = 1, FAULT_WRITE = 2 };

struct entry {
	struct list_head node;
	u32 die;
	u64 address;
	u64 value;
	u64 write_mask;
	u64 locked_by;	/* a write is dropped while the content has one of these bits */
	u32 faults;
	u64 steps_per_second;	/* how fast the low 32 bits count up */
	u64 counted;	/* how many steps of the time so far are in the value already */
	u64 kept_value;
	u64 kept_counted;
};

static LIST_HEAD(table);
static DEFINE_SPINLOCK(table_lock);
static u64 now_ns, kept_now_ns;

static struct entry *find(u32 die, u64 address)
{
	struct entry *entry;

	list_for_each_entry(entry, &table, node)
		if (entry->die == die && entry->address == address)
			return entry;
	return NULL;
}

static u64 steps_so_far(const struct entry *entry)
{
	return mul_u64_u64_div_u64(now_ns - now_ns % GRID_NS, entry->steps_per_second, NSEC_PER_SEC);
}

static void count(struct entry *entry)
{
	u64 steps = steps_so_far(entry);

	entry->value = (entry->value & ~0xffffffffULL) | (u32)(entry->value + steps - entry->counted);
	entry->counted = steps;
}

/* -EIO where reading faults; otherwise the value is up to date. */
static int look(struct entry *entry)
{
	if (!entry || entry->faults & FAULT_READ)
		return -EIO;
	count(entry);
	return 0;
}

/* What a write of the whole register leaves. */
static void store(struct entry *entry, u64 wanted)
{
	if (!(entry->value & entry->locked_by))
		entry->value = (entry->value & ~entry->write_mask) | (wanted & entry->write_mask);
}

static void note_access(char how, u32 die, int cpu, u64 address, u64 mask, u64 value, const struct entry *entry,
			int error)
{
	raplica_note("%c die%u cpu%d 0x%llx mask=0x%llx val=0x%llx reg=0x%llx err=%d\n", how, die, cpu, address, mask,
		     value, entry ? entry->value : 0, error);
}

/* The driver's read: the bits of the mask, in their place. */
int raplica_read(u32 die, int cpu, u64 address, u64 mask, u64 *value)
{
	struct entry *entry;
	unsigned long flags;
	int error;

	spin_lock_irqsave(&table_lock, flags);
	entry = find(die, address);
	error = look(entry);
	*value = error ? 0 : entry->value & mask;
	note_access('r', die, cpu, address, mask, *value, entry, error);
	spin_unlock_irqrestore(&table_lock, flags);
	return error;
}

/* The driver's write: a read, the bits of the mask replaced, a write; so either fault makes it fail. */
int raplica_write(u32 die, int cpu, u64 address, u64 mask, u64 value)
{
	struct entry *entry;
	unsigned long flags;
	int error = 0;

	spin_lock_irqsave(&table_lock, flags);
	entry = find(die, address);
	if (!entry || entry->faults)
		error = -EIO;
	else
		store(entry, (entry->value & ~mask) | value);
	note_access('w', die, cpu, address, mask, value, entry, error);
	spin_unlock_irqrestore(&table_lock, flags);
	return error;
}

/* The bare instructions, which are not noted: whoever makes them knows. */

int raplica_rdmsr(u32 die, u64 address, u64 *value)
{
	struct entry *entry;
	unsigned long flags;
	int error;

	spin_lock_irqsave(&table_lock, flags);
	entry = find(die, address);
	error = look(entry);
	*value = error ? 0 : entry->value;
	spin_unlock_irqrestore(&table_lock, flags);
	return error;
}

int raplica_wrmsr(u32 die, u64 address, u64 value)
{
	struct entry *entry;
	unsigned long flags;
	int error = 0;

	spin_lock_irqsave(&table_lock, flags);
	entry = find(die, address);
	if (!entry || entry->faults & FAULT_WRITE)
		error = -EIO;
	else
		store(entry, value);
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

/* Commands. */

static void remove_all(void)
{
	struct entry *entry, *next;

	list_for_each_entry_safe(entry, next, &table, node) {
		list_del(&entry->node);
		kfree(entry);
	}
}

/* Remember every value and the time, and put them back. */
static void keep(void)
{
	struct entry *entry;

	kept_now_ns = now_ns;
	list_for_each_entry(entry, &table, node) {
		entry->kept_value = entry->value;
		entry->kept_counted = entry->counted;
	}
}

static void put_back(void)
{
	struct entry *entry;

	now_ns = kept_now_ns;
	list_for_each_entry(entry, &table, node) {
		entry->value = entry->kept_value;
		entry->counted = entry->kept_counted;
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
	entry->counted = steps_so_far(entry);
	return 0;
}

static int change(const char *verb, struct entry *entry, u64 value)
{
	if (!entry)
		return -ENOENT;
	if (!strcmp(verb, "fault")) {
		entry->faults = value;
	} else if (!strcmp(verb, "wmask")) {
		entry->write_mask = value;
	} else if (!strcmp(verb, "ignlock")) {
		entry->locked_by = value;
	} else if (!strcmp(verb, "rate")) {
		count(entry);
		entry->steps_per_second = value;
		entry->counted = steps_so_far(entry);
	} else if (!strcmp(verb, "drop")) {
		list_del(&entry->node);
		kfree(entry);
	} else {
		return -EINVAL;
	}
	return 0;
}

static int obey(const char *text)
{
	char verb[16];
	u32 die = 0;
	u64 address = 0, value = 0;
	int parts;

	if (sscanf(text, "advance %llu", &value) == 1) {
		now_ns += value;
		return 0;
	}
	parts = sscanf(text, "%15s %u %lli %lli", verb, &die, &address, &value);
	if (parts == 1 && !strcmp(verb, "clear"))
		remove_all();
	else if (parts == 1 && !strcmp(verb, "keep"))
		keep();
	else if (parts == 1 && !strcmp(verb, "put-back"))
		put_back();
	else if (parts < 3 || (parts < 4 && strcmp(verb, "drop")))
		return -EINVAL;
	else
		return strcmp(verb, "set") ? change(verb, find(die, address), value) : set(die, address, value);
	return 0;
}

/* clear | keep | put-back | advance NANOSECONDS | set DIE REG VALUE | fault DIE REG 1 read 2 write 3 both |
 * wmask DIE REG MASK | ignlock DIE REG MASK | rate DIE REG STEPS_PER_SECOND | drop DIE REG
 */
int raplica_obey(const char *text)
{
	unsigned long flags;
	int error;

	spin_lock_irqsave(&table_lock, flags);
	error = obey(text);
	spin_unlock_irqrestore(&table_lock, flags);
	return error;
}

void raplica_show(struct seq_file *out)
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
}
