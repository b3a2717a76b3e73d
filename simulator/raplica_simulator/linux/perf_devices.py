# SPDX-License-Identifier: Apache-2.0
"""A power PMU in sysfs: what the kernel shows as ``/sys/devices/power``, to which the bus event_source links.

Mirrors pmu_dev_alloc of kernel/events/core.c and the attribute groups of arch/x86/events/rapl.c; every file was
looked at on 6.1, 6.12 and 7.2.
"""

import re
from errno import EINVAL

from raplica_simulator.linux.cpu_topology import cpu_list
from raplica_simulator.linux.device import RuntimePower
from raplica_simulator.linux.kernel import Kernel
from raplica_simulator.linux.perf_power import PowerPmu
from raplica_simulator.linux.sysfs import Sysfs

__all__ = ["PmuDevice"]

_SCALE = b"2.3283064365386962890625e-10\n"  # 2^-32, whatever the register counts in
_UNIT = b"Joules\n"
_INT_MAX = (1 << 31) - 1
# kstrtoint with base 0: the prefix says the base.
_INTEGER = re.compile(rb"([+-]?)(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)\n?\Z")


class PmuDevice:
    """The directory of one PMU, in a sysfs of its own.

    Attributes:
        pmu: the PMU.
        type: the number by which perf_event_open would know it.
        sysfs: the tree; its root is the directory.
    """

    def __init__(self, pmu: PowerPmu, kernel: Kernel, pmu_type: int) -> None:
        self.pmu = pmu
        self.type = pmu_type
        self.sysfs = sysfs = Sysfs(pmu.catch_up, kernel)
        self._interval_ms = 4  # one tick of a kernel with CONFIG_HZ=250
        root = sysfs.root
        sysfs.make_attribute(root, "type", 0o444, lambda: b"%d\n" % pmu_type)
        sysfs.make_attribute(root, "cpumask", 0o444, lambda: cpu_list(pmu.cpumask))
        sysfs.make_attribute(
            root, "perf_event_mux_interval_ms", 0o644, lambda: b"%d\n" % self._interval_ms, self._store_interval
        )
        formats = sysfs.make_directory(root, "format")
        sysfs.make_attribute(formats, "event", 0o444, lambda: b"config:0-7\n")
        events = sysfs.make_directory(root, "events")
        for event in pmu.events:
            text = b"event=0x%02x\n" % event.config
            sysfs.make_attribute(events, event.name, 0o444, lambda text=text: text)  # type: ignore[misc]
            sysfs.make_attribute(events, f"{event.name}.unit", 0o444, lambda: _UNIT)
            sysfs.make_attribute(events, f"{event.name}.scale", 0o444, lambda: _SCALE)
        RuntimePower(sysfs, root)

    def _store_interval(self, data: bytes) -> None:
        """Take another interval for rotating events that do not fit, which these always do; EINVAL below 1 ms."""
        text = _INTEGER.match(data.split(b"\0", 1)[0])
        if text is None:
            raise OSError(EINVAL, "not an integer")
        digits = text[2]
        octal = digits[:1] == b"0" and digits[1:2] not in (b"x", b"X", b"")
        value = int(digits, 8 if octal else 0)
        if text[1] == b"-" or not 1 <= value <= _INT_MAX:
            raise OSError(EINVAL, "not above 0")
        self._interval_ms = value
