# SPDX-License-Identifier: Apache-2.0
"""The Scaphandre driver for tests: its versions and lists as its sources have them, and a process that has it open."""

import struct

from raplica_simulator import Machine
from raplica_simulator.windows.scaphandre_driver import ScaphandreDriver
from raplica_simulator.windows.scaphandre_versions import VERSIONS
from raplica_simulator.windows.system import WindowsSystem
from raplica_simulator.windows.win32_calls import GENERIC_READ, GENERIC_WRITE, Completion, Win32Calls

NEW = r"\\.\ScaphandreDriver"
RW = GENERIC_READ | GENERIC_WRITE
CODE = 0x0022D844
DIRECT = {"v0-ones", "v0-unit", "v1"}
BUFFERED = set(VERSIONS) - DIRECT - {"v0-none"}
UNGUARDED = {"v0-unit", "v1", "v2-4", "v2-8", "v2-8-open", "v2-8-allow", "v3"}
STALE = {"v2-8-open", "v2-8-allow", "v3", "v3.1", "v3.2"}

# The lists as they stand in the sources; a second time here, on purpose.
INTEL = {
    0x606, 0x610, 0x611, 0x613, 0x614, 0x618, 0x619, 0x61B, 0x61C, 0x638, 0x639, 0x63A, 0x63B, 0x640, 0x641, 0x642,
}  # fmt: skip
AMD = {0xC0010299, 0xC001029A, 0xC001029B}
LISTS = {
    "v2-8-allow": (INTEL, INTEL),
    "v3": (INTEL, INTEL),
    "v3.1": (INTEL | {0x64D, 0x65C}, INTEL | {0x64D, 0x65C}),
    "v3.2": (INTEL | {0x64D, 0x65C}, AMD),
}  # on Intel, on AMD
ABSENT = 0x61C  # on this machine


def opened(machine: Machine, version: str, access: int = RW, **options: object) -> tuple[Win32Calls, int]:
    """A process that has the driver's device open."""
    driver = ScaphandreDriver(version, **options)  # type: ignore[arg-type]
    process = WindowsSystem.with_driver(machine, driver).process()
    return process, process.create_file(rf"\\.\{driver.device_name}", access)


def ask(process: Win32Calls, handle: int, register: int, cpu: int = 0, size: int = 8) -> Completion:
    return process.device_io_control(handle, CODE, struct.pack("<II", register, cpu), size)


def word(done: Completion) -> int:
    assert (done.ok, done.error, done.returned, done.overrun) == (True, 0, 8, b"")
    return int.from_bytes(done.output, "little")


def answers(machine: Machine, register: int) -> bool:
    try:
        machine.msr.read(0, register)
    except OSError:
        return False
    return True
