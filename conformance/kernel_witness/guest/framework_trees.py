# SPDX-License-Identifier: Apache-2.0
"""Trees as clients of the framework make them: dtpm's, the ones of the kernel's powercap page, beside intel_rapl's."""

from __future__ import annotations

import os

from kernel_witness.guest.files import reads
from kernel_witness.guest.framework import MANDATORY, POWER, Framework
from kernel_witness.guest.machine import CLASS, Machine, attributes, find_zones
from kernel_witness.guest.recorder import Recorder
from kernel_witness.guest.values import CONTROL_TYPE

__all__ = ["beside_rapl", "dtpm", "idle_injection", "kernel_doc"]

_MANDATORY = ",".join(MANDATORY)
_LIMITS = ("0", "1", "1500000", "99999999999", "abc", "-1")


def _try_zones(recorder: Recorder, framework: Framework, control_type: str) -> None:
    """Read everything, and write to everything that can be written."""
    for data in CONTROL_TYPE:
        recorder.write_read(f"{CLASS}/{control_type}/enabled", data)
    for zone in find_zones():
        for name in attributes(zone):
            path = f"{zone.path}/{name}"
            recorder.read(path)
            if os.stat(path).st_mode & 0o200:
                for data in ("0", "1", "x") if name == "enabled" else _LIMITS:
                    recorder.write_read(path, data)
        framework.called()
    recorder.tree("written")


def dtpm(recorder: Recorder, machine: Machine) -> None:
    """A tree as drivers/powercap/dtpm.c registers it: power, one constraint, no window, memory of its own."""
    recorder.label("a tree like dtpm's")
    framework = Framework(recorder)
    framework.do("type dtpm name=dtpm")
    cops = f"cops={_MANDATORY},get_max_power_uw,get_name"
    ops = f"constraints=1 ops=get_max_power_range_uw,get_power_uw,release {cops}"
    leaves = {"cpu0-cpufreq": (500000, 2500000), "cpu4-cpufreq": (1000000, 4500000), "gpu": (250000, 3000000)}
    framework.do(f"zone soc own type=dtpm {ops} name=soc")
    framework.do(f"zone cpus own type=dtpm parent=soc {ops} name=cpus")
    for key in leaves:
        parent = "soc" if key == "gpu" else "cpus"
        framework.do(f"zone {key} own type=dtpm parent={parent} {ops} name={key}")
    bounds = {**leaves, "cpus": (1500000, 7000000), "soc": (1750000, 10000000)}
    for key, (least, most) in bounds.items():
        framework.do(f"answer {key} get_max_power_range_uw {most - least}")
        framework.do(f"answer {key} get_power_uw {least}")
        framework.do(f"answer {key} get_power_limit_uw {most}")
        framework.do(f"answer {key} get_max_power_uw {most}")
        framework.do(f"answer {key} get_name =Instantaneous")
        framework.do(f"answer {key} set_time_window_us ENOSYS")
        framework.do(f"answer {key} get_time_window_us ENOSYS")
    recorder.tree("dtpm")
    reads(recorder, machine)
    _try_zones(recorder, framework, "dtpm")
    framework.all(f"unzone {key}" for key in ("cpu0-cpufreq", "cpus", "cpu4-cpufreq", "gpu", "soc"))
    framework.do("untype dtpm")
    framework.close()


def idle_injection(recorder: Recorder, machine: Machine) -> None:
    """A tree under the name that the kernel's documentation alone knows: switches, counters that can be reset."""
    recorder.label("a tree called idle-injection")
    framework = Framework(recorder)
    framework.do("type idle ops=set_enable,get_enable name=idle-injection")
    monitors = "get_energy_uj,get_max_energy_range_uj,reset_energy_uj,set_enable,get_enable"
    ranges = "get_max_power_uw,get_min_power_uw,get_max_time_window_us,get_min_time_window_us"
    for key, parent in (("package-0", ""), ("cpu0", "package-0"), ("cpu1", "package-0")):
        above = f"parent={parent} " if parent else ""
        cops = f"{_MANDATORY},{ranges}"
        framework.do(f"zone {key} type=idle {above}constraints=1 ops={monitors} cops={cops} name={key}")
        framework.all((f"answer {key} get_energy_uj 1000000", f"answer {key} get_max_energy_range_uj 4294967295"))
        framework.all((f"answer {key} get_max_power_uw 15000000", f"answer {key} get_min_power_uw 1000000"))
        framework.do(f"answer {key} get_max_time_window_us 1000000")
        framework.do(f"answer {key} get_min_time_window_us 1000")
    recorder.tree("idle-injection")
    reads(recorder, machine)
    _try_zones(recorder, framework, "idle-injection")
    framework.close()


def kernel_doc(recorder: Recorder, machine: Machine) -> None:
    """The tree of Documentation/power/powercap/powercap.rst, as today's kernels make it of the same callbacks."""
    recorder.label("the tree of the kernel's powercap page")
    framework = Framework(recorder)
    framework.do("type intel-rapl name=intel-rapl")
    monitors = "get_energy_uj,get_max_energy_range_uj,set_enable,get_enable"
    cops = f"constraints=2 cops={_MANDATORY},get_name"
    for package in range(2):
        key = f"package-{package}"
        framework.do(f"zone {key} type=intel-rapl ops={monitors},get_max_power_range_uw {cops} name={key}")
        for part in ("core", "uncore"):
            framework.do(f"zone {part}{package} type=intel-rapl parent={key} ops={monitors} {cops} name={part}")
        for zone in (key, f"core{package}", f"uncore{package}"):
            framework.all((f"answer {zone} get_name.0 =long_term", f"answer {zone} get_name.1 =short_term"))
    recorder.tree("the kernel's page")
    reads(recorder, machine)
    _try_zones(recorder, framework, "intel-rapl")
    framework.close()


def beside_rapl(recorder: Recorder, machine: Machine) -> None:
    """Control types beside the driver's own: its name is taken, the rest is each one's own business."""
    recorder.label("beside intel_rapl")
    framework = Framework(recorder)
    framework.all(("type taken name=intel-rapl", "type own own ops=release name=intel-rapl", "untype own"))
    framework.all(("type taken name=intel-rapl:0", "type taken name=intel-rapl:0:0", "type mmio name=intel-rapl-mmio"))
    framework.do(f"zone mmio type=mmio {POWER} name=package-0")
    recorder.tree("beside intel_rapl")
    reads(recorder, machine)
    recorder.label("intel_rapl goes, and its name is free")
    recorder.rmmod("intel_rapl_msr")
    recorder.tree("intel_rapl has gone")
    framework.all(("type late name=late", f"zone late type=late {POWER} name=late"))
    recorder.insmod("intel_rapl_msr")
    recorder.tree("intel_rapl is back")
    framework.all(("unzone mmio", "unzone late", "untype mmio", "untype late"))
    framework.close()
