# SPDX-License-Identifier: Apache-2.0
"""What Windows makes of a machine's registers: drivers that programs open and ask by DeviceIoControl.

There is no powercap on Windows.  Names are those of the Windows documentation; what nobody has measured on a real
Windows is marked *inferred* or *unknown* where it stands.
"""
