// SPDX-License-Identifier: Apache-2.0
/*
 * Where an RDMSR would be: the values that the simulator published, in a file of 16-byte records.
 *
 * A record is {u32 register, u32 processor, u64 value}, little-endian. The register MACHINE_RECORD does not exist: its
 * record holds the number of processors, and the vendor as its value. A new file replaces the old one under its name,
 * so that a request sees the one or the other and never half of each.
 */
#include "raplica.h"

#define MACHINE_RECORD 0xFFFFFFFFu
#define AT_A_TIME 32

struct record {
	ULONG msr;
	ULONG cpu;
	ULONGLONG value;
};
C_ASSERT(sizeof(struct record) == 16);

static UNICODE_STRING file_name = RTL_CONSTANT_STRING(L"\\??\\C:\\raplica-values.bin");

/* Leave in `wanted` the first record with its register, and with its processor unless that is given as NULL. */
static NTSTATUS find(struct record *wanted, const ULONG *cpu)
{
	struct record records[AT_A_TIME];
	OBJECT_ATTRIBUTES attributes;
	IO_STATUS_BLOCK done;
	HANDLE file;
	NTSTATUS status;
	ULONG i;

	InitializeObjectAttributes(&attributes, &file_name, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE, NULL, NULL);
	status = ZwCreateFile(&file, GENERIC_READ | SYNCHRONIZE, &attributes, &done, NULL, FILE_ATTRIBUTE_NORMAL,
			      FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, FILE_OPEN,
			      FILE_SYNCHRONOUS_IO_NONALERT | FILE_NON_DIRECTORY_FILE, NULL, 0);
	if (!NT_SUCCESS(status))
		return status;
	for (;;) {
		status = ZwReadFile(file, NULL, NULL, NULL, &done, records, sizeof(records), NULL, NULL);
		if (!NT_SUCCESS(status))
			break;
		for (i = 0; i < done.Information / sizeof(records[0]); i++) {
			if (records[i].msr != wanted->msr || (cpu && records[i].cpu != *cpu))
				continue;
			*wanted = records[i];
			ZwClose(file);
			return STATUS_SUCCESS;
		}
	}
	ZwClose(file);
	return status == STATUS_END_OF_FILE ? STATUS_NOT_FOUND : status;
}

NTSTATUS raplica_value(ULONG msr, ULONG cpu, ULONGLONG *value)
{
	struct record record = { .msr = msr };
	NTSTATUS status = find(&record, &cpu);

	if (NT_SUCCESS(status))
		*value = record.value;
	return status;
}

NTSTATUS raplica_machine(ULONG *processors, enum raplica_vendor *vendor)
{
	struct record record = { .msr = MACHINE_RECORD };
	NTSTATUS status = find(&record, NULL);

	if (NT_SUCCESS(status)) {
		*processors = record.cpu;
		*vendor = (enum raplica_vendor)record.value;
	}
	return status;
}
