// SPDX-License-Identifier: Apache-2.0
/*
 * What the parts of the witness driver share: the frame (driver.c) opens, closes and unloads; one of protocol.c and
 * status.c answers the control codes.
 */
#ifndef RAPLICA_H
#define RAPLICA_H

#include <ntddk.h>

/* The part of the name that differs between the images, e.g. L"RaplicaDriver"; it makes the device and its link. */
#ifndef DEVICE_NAME
#define DEVICE_NAME L"RaplicaDriver"
#endif

/* A CREATE: the status with which the open ends. */
NTSTATUS raplica_create(IO_STACK_LOCATION *here);

/* A DEVICE_CONTROL: the status with which it ends; Information is set by the answer and is otherwise left as it was. */
NTSTATUS raplica_control(IRP *irp, IO_STACK_LOCATION *here);

/* What the simulator published for a register of a processor. STATUS_NOT_FOUND: the machine has no such register. */
NTSTATUS raplica_value(ULONG msr, ULONG cpu, ULONGLONG *value);

/* What the simulator published of the machine: how many processors, and who made them. */
enum raplica_vendor { RAPLICA_OTHER, RAPLICA_INTEL, RAPLICA_AMD };
NTSTATUS raplica_machine(ULONG *processors, enum raplica_vendor *vendor);

#endif
