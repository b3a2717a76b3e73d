# SPDX-License-Identifier: Apache-2.0
"""powermetrics' property lists: one for each sample, with a NUL between two.

Mirrors what is there about energy.  Known from real output: the separator; ``elapsed_ns``, ``timestamp`` and
``thermal_pressure``; ``cpu_power``, ``gpu_power``, ``ane_power`` and ``combined_power`` in milliwatts, as reals of six
digits, with ``cpu_energy``, ``gpu_energy`` and ``ane_energy`` in whole millijoules; a second ``gpu_energy`` in ``gpu``.
From programs that read it and from their reports: the ``package_energy`` and ``dram_energy`` of macOS 12, which has no
``combined_power`` (tlkh/asitop pull request 44, issue 51).  From memory, and not seen in any output: that it has no
other powers either, that ``is_delta`` and the ``kern_`` keys stand in front, and the keys of Intel, ``package_joules``
and ``package_watts``.
"""

import plistlib
from collections.abc import Collection
from fractions import Fraction

from raplica_simulator.macos.dates import date_of
from raplica_simulator.macos.mac import ANE, CPU, DRAM, GPU, PACKAGE, Mac
from raplica_simulator.macos.samples import Sample

__all__ = ["SEPARATOR", "document"]

#: What stands between two samples.
SEPARATOR = b"\0"


def document(mac: Mac, sample: Sample, samplers: Collection[str], boot_ns: int) -> bytes:
    """One sample as the ``samplers`` show it; ``boot_ns`` is a date in ns since 1970."""
    content: dict[str, object] = {
        "is_delta": True,
        "elapsed_ns": sample.elapsed_ns,
        "hw_model": mac.model,
        "kern_osversion": mac.build,
        "kern_bootargs": mac.boot_arguments,
        "kern_boottime": boot_ns // 10**9,
        "timestamp": date_of(boot_ns + sample.at_ns),
    }
    if "cpu_power" in samplers:
        content["processor"] = _apple(mac, sample) if mac.is_apple else _intel(sample)
    if "gpu_power" in samplers and mac.is_apple:
        content["gpu"] = {"gpu_energy": sample.mj(GPU)}
    if "thermal" in samplers and mac.is_apple:
        content["thermal_pressure"] = "Nominal"
    return plistlib.dumps(content, sort_keys=False)


def _intel(sample: Sample) -> dict[str, object]:
    return {
        "package_watts": _real(sample.mw(PACKAGE) / 1000),
        "package_joules": _real(Fraction(sample.spent_uj[PACKAGE], 10**6)),
    }


def _apple(mac: Mac, sample: Sample) -> dict[str, object]:
    clusters = [{"name": one.name, "cpus": [{"cpu": cpu} for cpu in one.cpus]} for one in mac.clusters]
    found: dict[str, object] = {"clusters": clusters}
    for part in (CPU, GPU, ANE, *((DRAM, PACKAGE) if mac.has_package else ())):
        found[f"{part}_energy"] = sample.mj(part)
        if not mac.has_package:
            found[f"{part}_power"] = _real(sample.mw(part))
    if not mac.has_package:
        found["combined_power"] = _real(sample.mw(CPU, GPU, ANE))
    return found


def _real(number: Fraction) -> float:
    """Six digits."""
    return float(f"{float(number):.6g}")
