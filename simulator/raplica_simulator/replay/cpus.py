# SPDX-License-Identifier: Apache-2.0
"""What a recording reads of the processors, answered as the live surface answers it.

Only the path is taken apart here: the answers are those of :mod:`.linux.cpu_topology`, which so is held against the
kernel in every recording.
"""

import re

from raplica_simulator.linux.cpu_topology import CpuTopology, cpu_list
from raplica_simulator.machine import Machine

__all__ = ["read_cpus"]

_TOPOLOGY = re.compile(r"devices/system/cpu/cpu(\d+)/topology/(\w+)")


def read_cpus(machine: Machine, path: str) -> bytes | None:
    """What a file below ``devices/system/cpu`` reads; None for one that the machine has no answer for."""
    if path == "devices/system/cpu/online":
        return cpu_list(machine.driver.online)
    found = _TOPOLOGY.fullmatch(path)
    topology = CpuTopology(machine)
    if found is None or found[2] not in topology.files:
        return None
    return topology.read(int(found[1]), found[2])
