// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sending the stock drivers' register accesses to the table.
 *
 * Each RAPL interface driver reaches its hardware through two functions of its own. While such a module is being
 * loaded, before its init runs, a kprobe is put on each; the handler sends the call to a replacement. Everything above
 * those two functions stays as the distribution built it.
 */
#include <linux/intel_rapl.h>
#include <linux/io.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/version.h>

#include "raplica_table.h"

/* Which die each processor lies on is a fact of the machine, and not asked from the kernel that is being watched. */
static unsigned int die_of_cpu[NR_CPUS > 64 ? 64 : NR_CPUS];
static unsigned int dies_given;
module_param_array_named(dies, die_of_cpu, uint, &dies_given, 0444);
MODULE_PARM_DESC(dies, "the logical die of processor 0, 1, ...; all 0 where it is left out");

typedef int (*accessor)(int cpu, struct reg_action *action);

struct driver {
	const char *module;
	const char *read;
	const char *write;
	accessor to_read;
	accessor to_write;
	struct kprobe probes[2];
	bool diverted;
};

u32 raplica_die_of(int cpu)
{
	return cpu >= 0 && cpu < ARRAY_SIZE(die_of_cpu) ? die_of_cpu[cpu] : 0;
}

static u64 number_of(const struct reg_action *action)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 5, 0)
	return action->reg.val;
#else
	return action->reg;
#endif
}

static int read_msr(int cpu, struct reg_action *action)
{
	return raplica_read(raplica_die_of(cpu), cpu, number_of(action), action->mask, &action->value);
}

static int write_msr(int cpu, struct reg_action *action)
{
	action->err = raplica_write(raplica_die_of(cpu), cpu, number_of(action), action->mask, action->value);
	return action->err;
}

/* The MMIO driver was given 0 as the place of its registers, so an address is the offset; there is one package. */

static int read_mmio(int cpu, struct reg_action *action)
{
	u64 offset = number_of(action);

	return offset ? raplica_read(0, cpu, offset, action->mask, &action->value) : -EINVAL;
}

static int write_mmio(int cpu, struct reg_action *action)
{
	u64 offset = number_of(action);

	return offset ? raplica_write(0, cpu, offset, action->mask, action->value) : -EINVAL;
}

/* TPMI registers lie in memory, a page for each package: the page says which die, the place in it which register. */

static u64 tpmi_place(const struct reg_action *action)
{
	return slow_virt_to_phys((void *)number_of(action)) - RAPLICA_TPMI_BASE;
}

static int read_tpmi(int cpu, struct reg_action *action)
{
	u64 place;

	if (!number_of(action))
		return -EINVAL;
	place = tpmi_place(action);
	return raplica_read(place / RAPLICA_TPMI_STRIDE, cpu, place % RAPLICA_TPMI_STRIDE, action->mask,
			    &action->value);
}

static int write_tpmi(int cpu, struct reg_action *action)
{
	u64 place;

	if (!number_of(action))
		return -EINVAL;
	place = tpmi_place(action);
	return raplica_write(place / RAPLICA_TPMI_STRIDE, cpu, place % RAPLICA_TPMI_STRIDE, action->mask,
			     action->value);
}

static struct driver drivers[] = {
	{ "intel_rapl_msr", "intel_rapl_msr:rapl_msr_read_raw", "intel_rapl_msr:rapl_msr_write_raw", read_msr,
	  write_msr },
	{ "processor_thermal_rapl", "processor_thermal_rapl:rapl_mmio_read_raw",
	  "processor_thermal_rapl:rapl_mmio_write_raw", read_mmio, write_mmio },
	{ "intel_rapl_tpmi", "intel_rapl_tpmi:tpmi_rapl_read_raw", "intel_rapl_tpmi:tpmi_rapl_write_raw", read_tpmi,
	  write_tpmi },
};

static int on_read(struct kprobe *probe, struct pt_regs *regs)
{
	regs->ip = (unsigned long)container_of(probe, struct driver, probes[0])->to_read;
	return 1;
}

static int on_write(struct kprobe *probe, struct pt_regs *regs)
{
	regs->ip = (unsigned long)container_of(probe, struct driver, probes[1])->to_write;
	return 1;
}
NOKPROBE_SYMBOL(on_read);
NOKPROBE_SYMBOL(on_write);

static int divert(struct driver *driver)
{
	int error;

	/* A kprobe that was used before has to be made anew. */
	memset(driver->probes, 0, sizeof(driver->probes));
	driver->probes[0].symbol_name = driver->read;
	driver->probes[0].pre_handler = on_read;
	driver->probes[1].symbol_name = driver->write;
	driver->probes[1].pre_handler = on_write;
	error = register_kprobe(&driver->probes[0]);
	if (error)
		return error;
	error = register_kprobe(&driver->probes[1]);
	if (error)
		unregister_kprobe(&driver->probes[0]);
	else
		driver->diverted = true;
	return error;
}

static void restore(struct driver *driver)
{
	if (!driver->diverted)
		return;
	unregister_kprobe(&driver->probes[1]);
	unregister_kprobe(&driver->probes[0]);
	driver->diverted = false;
}

static int module_changes(struct notifier_block *block, unsigned long state, void *data)
{
	struct module *module = data;
	struct driver *driver;
	int error;

	if (!strcmp(module->name, "msr")) {
		if (state == MODULE_STATE_GOING)
			raplica_restore_msr();
		return state == MODULE_STATE_COMING ? notifier_from_errno(raplica_divert_msr(module)) : NOTIFY_DONE;
	}
	for (driver = drivers; driver < drivers + ARRAY_SIZE(drivers); driver++) {
		if (strcmp(module->name, driver->module))
			continue;
		if (state == MODULE_STATE_COMING) {
			error = divert(driver);
			if (error)
				pr_err("raplica: cannot divert %s: %d\n", driver->module, error);
			return error ? notifier_from_errno(error) : NOTIFY_DONE;
		}
		if (state == MODULE_STATE_GOING)
			restore(driver);	/* after the driver's exit, which still reaches the table */
	}
	return NOTIFY_DONE;
}

static struct notifier_block module_notifier = { .notifier_call = module_changes };

int raplica_divert_start(void)
{
	return register_module_notifier(&module_notifier);
}

void raplica_divert_stop(void)
{
	struct driver *driver;

	unregister_module_notifier(&module_notifier);
	raplica_restore_msr();
	for (driver = drivers; driver < drivers + ARRAY_SIZE(drivers); driver++)
		restore(driver);
}
