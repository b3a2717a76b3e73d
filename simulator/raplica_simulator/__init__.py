# SPDX-License-Identifier: Apache-2.0
"""The simulator: machines that meter and cap their own power, on a clock of their own.

>>> from raplica_simulator import Machine
>>> machine = Machine.from_profile("skylake-sp-2s", kernel="6.12")
>>> before = int(machine.sysfs.read("class/powercap/intel-rapl:0/energy_uj"))
>>> machine.clock.advance(seconds=10)
>>> int(machine.sysfs.read("class/powercap/intel-rapl:0/energy_uj")) - before
799997916
>>> machine.truth_uj("package-0")
800000000
"""

from raplica_simulator.clock import MonotonicClock, VirtualClock
from raplica_simulator.hardware.msr import Access
from raplica_simulator.linux.kernel import KernelCrash
from raplica_simulator.machine import Machine
from raplica_simulator.profile import Profile, ProfileError, load_profile

__all__ = [
    "Access",
    "KernelCrash",
    "Machine",
    "MonotonicClock",
    "Profile",
    "ProfileError",
    "VirtualClock",
    "load_profile",
]
