# SPDX-License-Identifier: Apache-2.0
"""The simulator: machines that meter and cap their own power, on a clock of their own.

>>> from raplica_simulator import Machine
>>> machine = Machine.from_profile("skylake-sp-2s", kernel="6.12")
>>> before = int(machine.sysfs.read("class/powercap/intel-rapl:0/energy_uj"))
>>> machine.clock.advance(seconds=10)
>>> int(machine.sysfs.read("class/powercap/intel-rapl:0/energy_uj")) - before
799997952
>>> machine.truth_uj("package-0")
800000000

The names are loaded when they are asked for: `raplica --help` lies in this package and must not wait for a machine.
"""

import typing

if typing.TYPE_CHECKING:
    from raplica_simulator.clock import MonotonicClock, VirtualClock
    from raplica_simulator.hardware.msr import Access
    from raplica_simulator.linux.kernel import KernelCrash
    from raplica_simulator.linux.powercap_sys import ConstraintOps, ControlType, ControlTypeOps, Zone, ZoneOps
    from raplica_simulator.machine import Machine
    from raplica_simulator.profile.profile import Profile, ProfileError, load_profile
    from raplica_simulator.scenario.scenario import Scenario

__all__ = [
    "Access",
    "ConstraintOps",
    "ControlType",
    "ControlTypeOps",
    "KernelCrash",
    "Machine",
    "MonotonicClock",
    "Profile",
    "ProfileError",
    "Scenario",
    "VirtualClock",
    "Zone",
    "ZoneOps",
    "load_profile",
]

_HOMES = {
    "Access": "hardware.msr",
    "ConstraintOps": "linux.powercap_sys",
    "ControlType": "linux.powercap_sys",
    "ControlTypeOps": "linux.powercap_sys",
    "KernelCrash": "linux.kernel",
    "Machine": "machine",
    "MonotonicClock": "clock",
    "Profile": "profile.profile",
    "ProfileError": "profile.profile",
    "Scenario": "scenario.scenario",
    "VirtualClock": "clock",
    "Zone": "linux.powercap_sys",
    "ZoneOps": "linux.powercap_sys",
    "load_profile": "profile.profile",
}


def __getattr__(name: str) -> object:
    """Load a public name from its home."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
