// SPDX-License-Identifier: Apache-2.0
/*
 * The ways in which a register has been asked for: PROTOCOL is 1, 24, 28 or 3.
 *
 *  1  one control code for a register, METHOD_OUT_DIRECT: function 0xBEB is the unit register, 0xBEC the package's
 *     limit, 0xBED its energy. Nothing comes in. The length that is told is the length of the caller's buffer.
 * 24  METHOD_BUFFERED, the control code is not looked at; four bytes come in, the register.
 * 28  the same with eight bytes, of which the low half counts.
 *  3  the same with eight bytes: the register, then the processor. Registers that are not on the vendor's list are
 *     refused; a processor that is out of range means the last one; a register that the machine lacks is an error.
 *
 * Before 3, the registers 1, 2 and 3 are tests: two patterns and the system's time. A register that is absent there
 * would have crashed the machine; a driver that only stands for one answers as 3 does.
 *
 * The drivers in use look neither at the transfer method nor at the caller's room. With CHECKED, a request with another
 * method or with room for less than a value is refused, and version 1 tells the length of a value. Without it, less is
 * copied where there is less room than a value: nothing is written where nothing of the request's lies.
 */
#include "raplica.h"

#define FUNCTION_OF(code) (((code) >> 2) & 0xFFF)
#define VALUE_SIZE ((ULONG)sizeof(ULONGLONG))

NTSTATUS raplica_create(IO_STACK_LOCATION *here)
{
	UNREFERENCED_PARAMETER(here);
	return STATUS_SUCCESS;
}

static NTSTATUS read_register(ULONG msr, ULONG cpu, ULONGLONG *value)
{
	NTSTATUS status = raplica_value(msr, cpu, value);

	return status == STATUS_NOT_FOUND ? STATUS_IO_DEVICE_ERROR : status;
}

/* What a careful driver looks at before it answers. */
static NTSTATUS check(const IO_STACK_LOCATION *here)
{
#ifdef CHECKED
	ULONG method = here->Parameters.DeviceIoControl.IoControlCode & 3;
	BOOLEAN direct = method == METHOD_IN_DIRECT || method == METHOD_OUT_DIRECT;

	if (PROTOCOL == 1 ? !direct : method != METHOD_BUFFERED)
		return STATUS_INVALID_DEVICE_REQUEST;
	if (here->Parameters.DeviceIoControl.OutputBufferLength < VALUE_SIZE)
		return STATUS_BUFFER_TOO_SMALL;
#else
	UNREFERENCED_PARAMETER(here);
#endif
	return STATUS_SUCCESS;
}

#if PROTOCOL == 1

#ifdef CHECKED
#define TOLD(room) VALUE_SIZE
#else
#define TOLD(room) (room)
#endif

NTSTATUS raplica_control(IRP *irp, IO_STACK_LOCATION *here)
{
	ULONG room = here->Parameters.DeviceIoControl.OutputBufferLength;
	NTSTATUS status = check(here);
	ULONGLONG value;
	ULONG msr;
	void *out;

	if (!NT_SUCCESS(status))
		return status;
	/* A real one follows the null pointer. */
	if (!irp->MdlAddress)
		return STATUS_INVALID_DEVICE_REQUEST;
	out = MmGetSystemAddressForMdlSafe(irp->MdlAddress, NormalPagePriority);
	if (!out)
		return STATUS_INSUFFICIENT_RESOURCES;
	switch (FUNCTION_OF(here->Parameters.DeviceIoControl.IoControlCode)) {
	case 0xBEB:
		msr = 0x606;
		break;
	case 0xBEC:
		msr = 0x610;
		break;
	case 0xBED:
		msr = 0x611;
		break;
	default:
		return STATUS_INVALID_DEVICE_REQUEST;
	}
	status = read_register(msr, 0, &value);
	if (!NT_SUCCESS(status))
		return status;
	RtlCopyMemory(out, &value, min(room, VALUE_SIZE));
	irp->IoStatus.Information = TOLD(room);
	return STATUS_SUCCESS;
}

#else

#if PROTOCOL == 24
#define INPUT_SIZE 4
#else
#define INPUT_SIZE 8
#endif

#if PROTOCOL == 3

static BOOLEAN is_listed(enum raplica_vendor vendor, ULONG msr)
{
	static const ULONG intel[] = { 0x606, 0x610, 0x611, 0x613, 0x614, 0x618, 0x619, 0x61B, 0x61C,
				       0x638, 0x639, 0x63A, 0x63B, 0x640, 0x641, 0x642, 0x64D, 0x65C };
	static const ULONG amd[] = { 0xC0010299, 0xC001029A, 0xC001029B };
	ULONG i;

	for (i = 0; vendor == RAPLICA_INTEL && i < RTL_NUMBER_OF(intel); i++)
		if (intel[i] == msr)
			return TRUE;
	for (i = 0; vendor == RAPLICA_AMD && i < RTL_NUMBER_OF(amd); i++)
		if (amd[i] == msr)
			return TRUE;
	return FALSE;
}

static NTSTATUS answer(const ULONG *in, ULONGLONG *value)
{
	enum raplica_vendor vendor;
	ULONG processors;
	NTSTATUS status = raplica_machine(&processors, &vendor);

	if (!NT_SUCCESS(status))
		return status;
	if (!is_listed(vendor, in[0]))
		return STATUS_INVALID_DEVICE_REQUEST;
	return read_register(in[0], min(in[1], processors - 1), value);
}

#else

static NTSTATUS answer(const ULONG *in, ULONGLONG *value)
{
	LARGE_INTEGER now;

	switch (in[0]) {
	case 1:
		*value = 0x1111111111111111;
		return STATUS_SUCCESS;
	case 2:
		*value = 0x2222222222222222;
		return STATUS_SUCCESS;
	case 3:
		KeQuerySystemTime(&now);
		*value = now.QuadPart;
		return STATUS_SUCCESS;
	default:
		return read_register(in[0], 0, value);
	}
}

#endif

NTSTATUS raplica_control(IRP *irp, IO_STACK_LOCATION *here)
{
	ULONG room = here->Parameters.DeviceIoControl.OutputBufferLength, size = INPUT_SIZE;
	void *shared = irp->AssociatedIrp.SystemBuffer;
	ULONGLONG value;
	NTSTATUS status;

	if (here->Parameters.DeviceIoControl.InputBufferLength != INPUT_SIZE)
		return STATUS_INVALID_DEVICE_REQUEST;
	status = check(here);
	if (NT_SUCCESS(status))
		status = answer(shared, &value);
	if (!NT_SUCCESS(status))
		return status;
	/* Buffered, input and output share one buffer, as long as the longer of both. Else it is the input's alone. */
	if ((here->Parameters.DeviceIoControl.IoControlCode & 3) == METHOD_BUFFERED)
		size = max(room, INPUT_SIZE);
	RtlCopyMemory(shared, &value, min(size, VALUE_SIZE));
	irp->IoStatus.Information = VALUE_SIZE;
	return STATUS_SUCCESS;
}

#endif
