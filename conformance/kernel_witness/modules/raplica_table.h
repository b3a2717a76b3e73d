/* SPDX-License-Identifier: GPL-2.0-only */
/* What the parts of the witness's modules know of each other. */
#ifndef RAPLICA_TABLE_H
#define RAPLICA_TABLE_H

#include <linux/types.h>

/* table.c */
u32 raplica_die_of(int cpu);
int raplica_read(u32 die, int cpu, u64 address, u64 mask, u64 *value);
int raplica_write(u32 die, int cpu, u64 address, u64 mask, u64 value);
u64 raplica_content(u32 die, u64 address);

/* divert.c */
int raplica_divert_start(void);
void raplica_divert_stop(void);

/* Where the TPMI registers of the packages lie: memory that the kernel was told at boot to leave alone. */
#define RAPLICA_TPMI_BASE 0x10000000ULL
#define RAPLICA_TPMI_STRIDE 0x1000ULL

#endif
