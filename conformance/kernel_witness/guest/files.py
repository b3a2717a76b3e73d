# SPDX-License-Identifier: Apache-2.0
"""Probes of a loaded driver's files: every attribute read and written, and every system call on some of them."""

from __future__ import annotations

import os
from collections.abc import Mapping

from kernel_witness.guest.calls import calls_on_directory, calls_on_file
from kernel_witness.guest.machine import CLASS, Machine, Zone, attributes, control_types, find_zones
from kernel_witness.guest.recorder import Recorder
from kernel_witness.guest.values import CONTROL_TYPE, FULL, ODD_UEVENTS, POWER_FILES, SHORT, UEVENTS

__all__ = [
    "calls",
    "crash_limit",
    "crash_window",
    "device_files",
    "psys_writes",
    "read_zone",
    "reads",
    "short_writes",
    "topology",
    "touch",
    "touch_all",
    "writes",
]

_DEVICES = "/sys/devices/virtual/powercap"


def _values_for(attribute: str, values: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Return what to write to an attribute: by its name, or what follows the number of its constraint."""
    return values.get(attribute) or values.get(attribute.partition("_")[2].partition("_")[2], ())


def topology(recorder: Recorder, machine: Machine) -> None:
    """Read what the kernel says of its processors."""
    recorder.read("/sys/devices/system/cpu/online")
    for cpu in range(len(machine.cpu_dies)):
        for name in ("physical_package_id", "die_id", "core_id", "package_cpus_list", "die_cpus_list"):
            recorder.read(f"/sys/devices/system/cpu/cpu{cpu}/topology/{name}")


def reads(recorder: Recorder, _: Machine) -> None:
    """Read every attribute of every zone, for the register accesses behind it."""
    recorder.label("reads")
    for zone in find_zones():
        read_zone(recorder, zone)


def read_zone(recorder: Recorder, zone: Zone) -> None:
    """Read every attribute of one zone."""
    for attribute in attributes(zone):
        recorder.read(f"{zone.path}/{attribute}")


def writes(recorder: Recorder, _: Machine) -> None:
    """Write to every attribute of every zone: everything to the first, less to the others."""
    for index, zone in enumerate(find_zones()):
        _write_zone(recorder, zone, FULL if index == 0 else SHORT)
    _write_control_types(recorder)
    recorder.tree("after the writes")
    recorder.dump()


def short_writes(recorder: Recorder, _: Machine) -> None:
    """Write to every attribute of every zone, a few values each."""
    for zone in find_zones():
        _write_zone(recorder, zone, SHORT)
    recorder.tree("after the writes")
    recorder.dump()


def psys_writes(recorder: Recorder, _: Machine) -> None:
    """Write every value to each psys zone and each dram zone."""
    for zone in find_zones():
        if zone.name.startswith(("psys", "dram")):
            _write_zone(recorder, zone, FULL)


def _write_zone(recorder: Recorder, zone: Zone, values: Mapping[str, tuple[str, ...]]) -> None:
    recorder.label(f"writes to {zone.path}/")
    for attribute in attributes(zone):
        path = f"{zone.path}/{attribute}"
        for data in _values_for(attribute, values):
            recorder.write_read(path, data)
        if values is FULL and attribute.endswith("power_limit_uw"):
            for length in (4095, 4096, 4097):
                recorder.write_long(path, "", "0", length)
            recorder.write_long(path, "15000000\n", "1", 4097)
    for data in UEVENTS:
        recorder.write(f"{zone.path}/uevent", data)


def _write_control_types(recorder: Recorder) -> None:
    for path in control_types():
        recorder.label(f"writes to the control type {path}")
        for data in CONTROL_TYPE:
            recorder.write_read(f"{path}/enabled", data)
        for data in UEVENTS:
            recorder.write(f"{path}/uevent", data)


def device_files(recorder: Recorder, _: Machine) -> None:
    """Write to what the driver core put into the first zone and the control type: uevent and power/."""
    recorder.label("files of the driver core")
    for path in (*control_types(), *(zone.path for zone in find_zones()[:1])):
        for data in ODD_UEVENTS:
            recorder.write(f"{path}/uevent", data)
        for name, values in POWER_FILES.items():
            for data in values:
                recorder.write_read(f"{path}/power/{name}", data)
    recorder.tree("after the files of the driver core")


def calls(recorder: Recorder, _: Machine) -> None:
    """Make every system call on some attributes and directories."""
    recorder.label("odd system calls")
    control_type = control_types()[0]
    zone = f"{control_type}:0"
    for name in ("constraint_0_power_limit_uw", "energy_uj", "name", "enabled", "uevent"):
        path = f"{zone}/{name}"
        if os.path.lexists(path):
            recorder.calls("sys", path, lambda: calls_on_file(path))  # noqa: B023
    inner = f"{_DEVICES}/{os.path.basename(control_type)}"
    for path in (zone, CLASS, control_type, f"{inner}/{os.path.basename(zone)}", _DEVICES, inner):
        recorder.calls("sysdir", path, lambda: calls_on_directory(path))  # noqa: B023


def crash_limit(recorder: Recorder, _: Machine) -> None:
    """Write a power limit where there are no units: Linux 6.12 divides by one. This ends the recording."""
    recorder.label("a power limit is written, and there is no power unit")
    recorder.crash(f"{CLASS}/intel-rapl:0/constraint_0_power_limit_uw", "20000000")


def crash_window(recorder: Recorder, _: Machine) -> None:
    """Write a time window where there are no units. This ends the recording."""
    recorder.label("a time window is written, and there is no time unit")
    recorder.crash(f"{CLASS}/intel-rapl:0/constraint_0_time_window_us", "976")


def touch(recorder: Recorder, zone: Zone) -> None:
    """Write one good value to everything in a zone that can be written."""
    for attribute in attributes(zone):
        path = f"{zone.path}/{attribute}"
        if attribute.endswith("power_limit_uw"):
            recorder.write_read(path, "20000000")
        elif attribute.endswith("time_window_us"):
            recorder.write_read(path, "976")
        elif attribute == "enabled":
            recorder.write_read(path, "0")
            recorder.write_read(path, "1")


def touch_all(recorder: Recorder, _: Machine) -> None:
    """Write one good value to everything in every zone."""
    for zone in find_zones():
        touch(recorder, zone)
