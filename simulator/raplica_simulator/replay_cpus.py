# SPDX-License-Identifier: Apache-2.0
"""What a recording reads of the processors, answered from a machine's topology.

Mirrors drivers/base/topology.c and cpu.c.  A machine has no such files of its own; that its processors are numbered
and placed as the kernel placed them is still something to be held against the kernel.
"""

import re
from collections.abc import Iterable

from raplica_simulator.linux.rapl_models import counts_dies_through
from raplica_simulator.machine import Machine

__all__ = ["read_cpus"]

_TOPOLOGY = re.compile(r"devices/system/cpu/cpu(\d+)/topology/(\w+)")


def read_cpus(machine: Machine, path: str) -> bytes | None:
    """What a file below ``devices/system/cpu`` reads; None for one that the machine has no answer for.

    Ids of cores count in each package, those of dies as the kernel names zones; lists hold the processors that are up.
    """
    online = machine.driver.online
    if path == "devices/system/cpu/online":
        return _cpu_list(online)
    if not (found := _TOPOLOGY.fullmatch(path)):
        return None
    topology = machine.profile.topology
    here = topology.cpus[int(found[1])]
    match found[2]:
        case "physical_package_id":
            return b"%d\n" % here.package
        case "die_id":
            through = counts_dies_through(machine.profile.cpu.id, machine.kernel)
            return b"%d\n" % (here.logical_die if through else here.die)
        case "core_id":
            return b"%d\n" % (here.die * topology.cores_per_die + here.core)
        case "package_cpus_list":
            return _cpu_list(cpu.number for cpu in topology.cpus if cpu.package == here.package if cpu.number in online)
        case "die_cpus_list":
            return _cpu_list(cpu for cpu in topology.cpus_of_die(here.logical_die) if cpu in online)
    return None


def _cpu_list(numbers: Iterable[int]) -> bytes:
    """Numbers as the kernel prints a mask: ``0-3,8`` (lib/vsprintf.c bitmap_list_string)."""
    ranges: list[list[int]] = []
    for number in sorted(numbers):
        if ranges and ranges[-1][-1] == number - 1:
            ranges[-1].append(number)
        else:
            ranges.append([number])
    texts = (f"{one[0]}-{one[-1]}" if len(one) > 1 else f"{one[0]}" for one in ranges)
    return ",".join(texts).encode() + b"\n"
