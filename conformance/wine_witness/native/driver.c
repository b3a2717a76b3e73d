// SPDX-License-Identifier: Apache-2.0
/*
 * The frame of the witness driver: a device, its link, and the life of both.
 *
 * The image is built several times, each with other definitions: DEVICE_NAME; STALE_LINK, the defect of drivers that
 * delete the device's name in the place of the link's; NO_UNLOAD, a driver that cannot be stopped; ENTRY_STATUS, one
 * that refuses to start.
 */
#include "raplica.h"

#ifndef ENTRY_STATUS
#define ENTRY_STATUS STATUS_SUCCESS
#endif

static UNICODE_STRING device_name = RTL_CONSTANT_STRING(L"\\Device\\" DEVICE_NAME);
static UNICODE_STRING link_name = RTL_CONSTANT_STRING(L"\\DosDevices\\" DEVICE_NAME);

static NTSTATUS complete(IRP *irp, NTSTATUS status)
{
	irp->IoStatus.Status = status;
	IoCompleteRequest(irp, IO_NO_INCREMENT);
	return status;
}

static NTSTATUS NTAPI on_create(DEVICE_OBJECT *device, IRP *irp)
{
	UNREFERENCED_PARAMETER(device);
	return complete(irp, raplica_create(IoGetCurrentIrpStackLocation(irp)));
}

static NTSTATUS NTAPI on_close(DEVICE_OBJECT *device, IRP *irp)
{
	UNREFERENCED_PARAMETER(device);
	return complete(irp, STATUS_SUCCESS);
}

static NTSTATUS NTAPI on_control(DEVICE_OBJECT *device, IRP *irp)
{
	UNREFERENCED_PARAMETER(device);
	return complete(irp, raplica_control(irp, IoGetCurrentIrpStackLocation(irp)));
}

#ifndef NO_UNLOAD
static void NTAPI on_unload(DRIVER_OBJECT *driver)
{
#ifdef STALE_LINK
	IoDeleteSymbolicLink(&device_name);
#else
	IoDeleteSymbolicLink(&link_name);
#endif
	IoDeleteDevice(driver->DeviceObject);
}
#endif

NTSTATUS NTAPI DriverEntry(DRIVER_OBJECT *driver, UNICODE_STRING *registry)
{
	DEVICE_OBJECT *device;
	NTSTATUS status = ENTRY_STATUS;

	UNREFERENCED_PARAMETER(registry);
	if (!NT_SUCCESS(status))
		return status;
	status = IoCreateDevice(driver, 0, &device_name, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN, FALSE, &device);
	if (!NT_SUCCESS(status))
		return status;
	status = IoCreateSymbolicLink(&link_name, &device_name);
#ifndef STALE_LINK
	/* Where the link of the run before is left, it points to the right name, and such drivers do not look. */
	if (!NT_SUCCESS(status)) {
		IoDeleteDevice(device);
		return status;
	}
#endif
	driver->MajorFunction[IRP_MJ_CREATE] = on_create;
	driver->MajorFunction[IRP_MJ_CLEANUP] = on_close;
	driver->MajorFunction[IRP_MJ_CLOSE] = on_close;
	driver->MajorFunction[IRP_MJ_DEVICE_CONTROL] = on_control;
#ifndef NO_UNLOAD
	driver->DriverUnload = on_unload;
#endif
	device->Flags &= ~DO_DEVICE_INITIALIZING;
	return STATUS_SUCCESS;
}
