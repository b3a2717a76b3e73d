# SPDX-License-Identifier: Apache-2.0
"""The files of control types and zones: which there are, their modes, how values are printed and parsed, how they fail.

Mirrors the attributes of drivers/powercap/powercap_sys.c.  The framework drops whatever errno a driver gives: user
space sees EINVAL for a monitor, ENODATA for a constraint, ENOSYS for a switch.
"""

from __future__ import annotations

from collections.abc import Callable
from errno import EINVAL, ENODATA, ENOSYS
from typing import TYPE_CHECKING, TypeVar

from raplica_simulator.linux.kstrtox import kstrtobool, kstrtoull

if TYPE_CHECKING:
    from raplica_simulator.linux.kernel import Kernel
    from raplica_simulator.linux.powercap_sys import Zone
    from raplica_simulator.linux.sysfs import Sysfs
    from raplica_simulator.linux.sysfs_nodes import Directory

__all__ = ["make_constraint", "make_enabled", "make_monitors"]

_CONSTRAINT_NAME_MAX = 29  # POWERCAP_CONSTRAINT_NAME_LEN - 1
_SIGN = 1 << 63
Owner = TypeVar("Owner")


def make_enabled(
    sysfs: Sysfs,
    here: Directory,
    owner: Owner,
    get: Callable[[Owner], bool] | None,
    put: Callable[[Owner, bool], None] | None,
) -> None:
    """Make ``enabled``: 1 where nobody answers, 0 where the answer fails, ENOSYS where it cannot be set."""

    def show() -> bytes:
        try:
            on = get(owner) if get else True
        except OSError:
            on = False
        return b"1\n" if on else b"0\n"

    def store(data: bytes) -> None:
        on = kstrtobool(data, sysfs.kernel)
        try:
            if put is None:
                raise OSError(ENOSYS, "no set_enable")
            put(owner, on)
        except OSError as error:
            raise OSError(ENOSYS, "the driver refused") from error

    sysfs.make_attribute(here, "enabled", 0o644, show, store)


def make_monitors(sysfs: Sysfs, here: Directory, zone: Zone, kernel: Kernel) -> None:
    """Make ``name`` and a file for each energy and power function that the zone has."""
    text = zone.name.encode() + b"\n"
    sysfs.make_attribute(here, "name", 0o444, lambda: text)
    ops = zone.ops
    if ops.get_energy_uj:
        # The file has a store function always; only its mode says whether it can be opened for writing.
        mode = kernel.energy_mode | (0o200 if ops.reset_energy_uj else 0)
        sysfs.make_attribute(here, "energy_uj", mode, _shows(zone, ops.get_energy_uj), _resets(zone))
    for name, get in (
        ("max_energy_range_uj", ops.get_max_energy_range_uj),
        ("power_uw", ops.get_power_uw),
        ("max_power_range_uw", ops.get_max_power_range_uw),
    ):
        if get:
            sysfs.make_attribute(here, name, 0o444, _shows(zone, get))


def make_constraint(sysfs: Sysfs, here: Directory, zone: Zone, number: int, kernel: Kernel) -> None:
    """Make the two files that every constraint has, and one for each optional function."""
    ops = zone.constraint_ops
    prefix = f"constraint_{number}_"
    for name, get, put in (
        ("power_limit_uw", ops.get_power_limit_uw, ops.set_power_limit_uw),
        ("time_window_us", ops.get_time_window_us, ops.set_time_window_us),
    ):
        # Registration refuses a zone that lacks any of these.
        if get and put:
            show = _shows_constraint(zone, number, get)
            sysfs.make_attribute(here, prefix + name, 0o644, show, _stores_constraint(zone, number, put))
    for name, optional in (
        ("max_power_uw", ops.get_max_power_uw),
        ("min_power_uw", ops.get_min_power_uw),
        ("max_time_window_us", ops.get_max_time_window_us),
        ("min_time_window_us", ops.get_min_time_window_us),
    ):
        if optional:
            sysfs.make_attribute(here, prefix + name, 0o444, _shows_constraint(zone, number, optional))
    if ops.get_name:
        show = _shows_name(zone, number, ops.get_name, kernel)
        sysfs.make_attribute(here, f"{prefix}name", 0o444, show)


def _decimal(value: int) -> bytes:
    """A number of 64 bits as %lld prints it: with a sign, although none of them has one."""
    return b"%d\n" % (value if value < _SIGN else value - 2 * _SIGN)


def _shows(zone: Zone, get: Callable[[Zone], int]) -> Callable[[], bytes]:
    def show() -> bytes:
        try:
            return _decimal(get(zone))
        except OSError as error:
            raise OSError(EINVAL, "the driver could not read it") from error

    return show


def _resets(zone: Zone) -> Callable[[bytes], None]:
    """Only 0 resets; any other number is accepted and does nothing."""

    def store(data: bytes) -> None:
        if kstrtoull(data):
            return
        try:
            if zone.ops.reset_energy_uj is None:
                raise OSError(EINVAL, "no reset_energy_uj")
            zone.ops.reset_energy_uj(zone)
        except OSError as error:
            raise OSError(EINVAL, "the driver could not reset it") from error

    return store


def _shows_constraint(zone: Zone, number: int, get: Callable[[Zone, int], int]) -> Callable[[], bytes]:
    def show() -> bytes:
        try:
            return _decimal(get(zone, number))
        except OSError as error:
            raise OSError(ENODATA, "the driver could not read it") from error

    return show


def _stores_constraint(zone: Zone, number: int, put: Callable[[Zone, int, int], None]) -> Callable[[bytes], None]:
    def store(data: bytes) -> None:
        value = kstrtoull(data)
        try:
            put(zone, number, value)
        except OSError as error:
            raise OSError(ENODATA, "the driver refused") from error

    return store


def _shows_name(zone: Zone, number: int, get: Callable[[Zone, int], str | None], kernel: Kernel) -> Callable[[], bytes]:
    def show() -> bytes:
        name = get(zone, number)
        if name is None:
            raise OSError(ENODATA, "the driver has no name for it")
        if kernel.name_keeps_newline:
            return name.encode()[:_CONSTRAINT_NAME_MAX] + b"\n"
        return (name.encode() + b"\n")[:_CONSTRAINT_NAME_MAX]

    return show
