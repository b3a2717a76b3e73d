// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sending what programs do with /dev/cpu/N/msr to the table.
 *
 * The msr driver executes its rdmsr and wrmsr through two functions that others in the kernel call as well, so the
 * handlers look at who calls, and at the register: RAPL's go to the table, where a missing one faults; all the others
 * stay the processor's. An emulated processor answers 0 to any register that it does not know, and never faults.
 */
#include <linux/cpumask.h>
#include <linux/kprobes.h>
#include <linux/module.h>

#include "raplica_table.h"

static bool divert_msr = true;
module_param_named(msr, divert_msr, bool, 0644);
MODULE_PARM_DESC(msr, "whether the msr device meets the table (default: yes)");

static const struct module *msr_module;
static struct kprobe probes[2];

/* Intel SDM: 0x600 to 0x65f hold RAPL's and nothing that the kernel needs; AMD PPR: 0xc0010299 to 0xc001029f. */
static bool is_rapl(u32 number)
{
	return (number >= 0x600 && number <= 0x65f) || (number >= 0xc0010299 && number <= 0xc001029f);
}

static int read_whole(unsigned int cpu, u32 number, u64 *value)
{
	*value = 0;
	return cpu_online(cpu) ? raplica_rdmsr(raplica_die_of(cpu), number, value) : -ENXIO;
}

static int write_whole(unsigned int cpu, u32 number, u64 value)
{
	return cpu_online(cpu) ? raplica_wrmsr(raplica_die_of(cpu), number, value) : -ENXIO;
}

#ifdef RAPLICA_MSR_IN_HALVES
#define READ_SYMBOL "rdmsr_safe_on_cpu"
#define WRITE_SYMBOL "wrmsr_safe_on_cpu"

static int read_register(unsigned int cpu, u32 number, u32 *low, u32 *high)
{
	u64 value;
	int error = read_whole(cpu, number, &value);

	*low = lower_32_bits(value);
	*high = upper_32_bits(value);
	return error;
}

static int write_register(unsigned int cpu, u32 number, u32 low, u32 high)
{
	return write_whole(cpu, number, (u64)high << 32 | low);
}
#else
#define READ_SYMBOL "rdmsrq_safe_on_cpu"
#define WRITE_SYMBOL "wrmsrq_safe_on_cpu"
#define read_register read_whole
#define write_register write_whole
#endif

/* At the first instruction of the called function the return address is on top of the stack; argument 2 is in si. */
static bool is_ours(const struct pt_regs *regs)
{
	unsigned long caller = *(unsigned long *)regs->sp;

	return READ_ONCE(divert_msr) && within_module(caller, msr_module) && is_rapl(regs->si);
}

static int on_read(struct kprobe *probe, struct pt_regs *regs)
{
	if (!is_ours(regs))
		return 0;
	regs->ip = (unsigned long)read_register;
	return 1;
}

static int on_write(struct kprobe *probe, struct pt_regs *regs)
{
	if (!is_ours(regs))
		return 0;
	regs->ip = (unsigned long)write_register;
	return 1;
}
NOKPROBE_SYMBOL(is_ours);
NOKPROBE_SYMBOL(on_read);
NOKPROBE_SYMBOL(on_write);

int raplica_divert_msr(struct module *msr)
{
	int error;

	msr_module = msr;
	memset(probes, 0, sizeof(probes));
	probes[0].symbol_name = READ_SYMBOL;
	probes[0].pre_handler = on_read;
	probes[1].symbol_name = WRITE_SYMBOL;
	probes[1].pre_handler = on_write;
	error = register_kprobe(&probes[0]);
	if (!error) {
		error = register_kprobe(&probes[1]);
		if (error)
			unregister_kprobe(&probes[0]);
	}
	if (error)
		msr_module = NULL;
	return error;
}

void raplica_restore_msr(void)
{
	if (!msr_module)
		return;
	unregister_kprobe(&probes[1]);
	unregister_kprobe(&probes[0]);
	msr_module = NULL;
}
