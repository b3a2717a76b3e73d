/* SPDX-License-Identifier: GPL-2.0-only */
/* What the parts of the witness's modules know of each other. */
#ifndef RAPLICA_TABLE_H
#define RAPLICA_TABLE_H

#include <linux/module.h>
#include <linux/seq_file.h>
#include <linux/types.h>

/* table.c: the registers; the errors are those of the instructions, -EIO for a fault. */
int raplica_read(u32 die, int cpu, u64 address, u64 mask, u64 *value);
int raplica_write(u32 die, int cpu, u64 address, u64 mask, u64 value);
int raplica_rdmsr(u32 die, u64 address, u64 *value);
int raplica_wrmsr(u32 die, u64 address, u64 value);
u64 raplica_content(u32 die, u64 address);
int raplica_obey(const char *text);
void raplica_show(struct seq_file *out);

/* files.c: the log of the drivers' accesses; called with the table locked. */
__printf(1, 2) void raplica_note(const char *format, ...);

/* divert.c */
u32 raplica_die_of(int cpu);
int raplica_divert_start(void);
void raplica_divert_stop(void);

/* msr_device.c */
int raplica_divert_msr(struct module *msr);
void raplica_restore_msr(void);

/* Where the TPMI registers of the packages lie: memory that the kernel was told at boot to leave alone. */
#define RAPLICA_TPMI_BASE 0x10000000ULL
#define RAPLICA_TPMI_STRIDE 0x1000ULL
/* The table holds MSRs from here on, the first of which is 0x601. */
#define RAPLICA_TPMI_END 0x600U

#endif
