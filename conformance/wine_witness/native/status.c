// SPDX-License-Identifier: Apache-2.0
/*
 * A driver that answers as it is told, for measuring what the I/O manager makes of an answer.
 *
 * COMPLETE takes {u32 status, u32 information, u32 bytes}: it writes so many bytes A0 A1 A2 ... where output goes with
 * the transfer method of the code, and ends with that status and that Information. MIRROR writes what it was given:
 * {u32 code, u32 input length, u32 output length}. OPEN_WITH takes {u32 status}: every later open ends with it.
 */
#include "raplica.h"

#define FUNCTION_OF(code) (((code) >> 2) & 0xFFF)
#define COMPLETE 0x900
#define MIRROR 0x901
#define OPEN_WITH 0x902

struct complete_request {
	ULONG status;
	ULONG information;
	ULONG bytes;
};

static NTSTATUS open_status = STATUS_SUCCESS;

NTSTATUS raplica_create(IO_STACK_LOCATION *here)
{
	UNREFERENCED_PARAMETER(here);
	return open_status;
}

static const void *input_of(IRP *irp, IO_STACK_LOCATION *here, ULONG method)
{
	return method == METHOD_NEITHER ? here->Parameters.DeviceIoControl.Type3InputBuffer :
					  irp->AssociatedIrp.SystemBuffer;
}

static UCHAR *output_of(IRP *irp, ULONG method)
{
	if (method == METHOD_BUFFERED)
		return irp->AssociatedIrp.SystemBuffer;
	if (method == METHOD_NEITHER)
		return irp->UserBuffer;
	return irp->MdlAddress ? MmGetSystemAddressForMdlSafe(irp->MdlAddress, NormalPagePriority) : NULL;
}

static NTSTATUS complete(IRP *irp, IO_STACK_LOCATION *here, ULONG method)
{
	const void *in = input_of(irp, here, method);
	struct complete_request request;
	UCHAR *out;
	ULONG i;

	if (!in || here->Parameters.DeviceIoControl.InputBufferLength < sizeof(request))
		return STATUS_INFO_LENGTH_MISMATCH;
	RtlCopyMemory(&request, in, sizeof(request));
	out = output_of(irp, method);
	for (i = 0; out && i < min(request.bytes, here->Parameters.DeviceIoControl.OutputBufferLength); i++)
		out[i] = (UCHAR)(0xA0 + i);
	irp->IoStatus.Information = request.information;
	return (NTSTATUS)request.status;
}

static NTSTATUS mirror(IRP *irp, IO_STACK_LOCATION *here, ULONG method)
{
	ULONG seen[3] = {
		here->Parameters.DeviceIoControl.IoControlCode,
		here->Parameters.DeviceIoControl.InputBufferLength,
		here->Parameters.DeviceIoControl.OutputBufferLength,
	};
	UCHAR *out = output_of(irp, method);

	if (!out || here->Parameters.DeviceIoControl.OutputBufferLength < sizeof(seen))
		return STATUS_BUFFER_TOO_SMALL;
	RtlCopyMemory(out, seen, sizeof(seen));
	irp->IoStatus.Information = sizeof(seen);
	return STATUS_SUCCESS;
}

static NTSTATUS open_with(IRP *irp, IO_STACK_LOCATION *here, ULONG method)
{
	const void *in = input_of(irp, here, method);

	if (!in || here->Parameters.DeviceIoControl.InputBufferLength < sizeof(open_status))
		return STATUS_INFO_LENGTH_MISMATCH;
	RtlCopyMemory(&open_status, in, sizeof(open_status));
	return STATUS_SUCCESS;
}

NTSTATUS raplica_control(IRP *irp, IO_STACK_LOCATION *here)
{
	ULONG code = here->Parameters.DeviceIoControl.IoControlCode;

	switch (FUNCTION_OF(code)) {
	case COMPLETE:
		return complete(irp, here, code & 3);
	case MIRROR:
		return mirror(irp, here, code & 3);
	case OPEN_WITH:
		return open_with(irp, here, code & 3);
	default:
		return STATUS_INVALID_DEVICE_REQUEST;
	}
}
