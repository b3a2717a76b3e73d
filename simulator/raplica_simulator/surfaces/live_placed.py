# SPDX-License-Identifier: Apache-2.0
"""A live surface whose ``sys/devices/virtual`` has room for the host's folders beside the machine's.

The machine's ``powercap`` folder comes and goes with its driver.  A mount on ``/sys/devices/virtual/powercap`` would
stay on the folder that was there first, so the whole of ``virtual`` is put into place, with the host's own folders
mounted on empty ones.
"""

from collections.abc import Iterable

from raplica_simulator.live.machine import LiveMachine
from raplica_simulator.surfaces.live_cpus import OwnFolder
from raplica_simulator.surfaces.live_joined import folder_at
from raplica_simulator.surfaces.live_tree import LiveTree

__all__ = ["PlacedTree"]

_FIRST_INO = 1 << 31  # above the processors, below every sysfs


class PlacedTree(LiveTree):
    """All files of a machine, those of its host too, with ``guests``: empty folders in ``sys/devices/virtual``."""

    def __init__(self, live: LiveMachine, moment_ns: int, guests: Iterable[str], *, perf_type: int | None) -> None:
        """``perf_type`` as :class:`.LiveTree` takes it.  A guest of the name of a folder of the machine is not seen."""
        super().__init__(live.machine.sysfs, live.msr_module, moment_ns, host_files=True, perf_type=perf_type)
        virtual = folder_at(self.root, "sys", "devices", "virtual")
        folders = {name: OwnFolder(_FIRST_INO + index, moment_ns, virtual.ino, {}) for index, name in enumerate(guests)}
        self.join(virtual, folders)
