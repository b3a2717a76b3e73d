# SPDX-License-Identifier: Apache-2.0
"""The probes by the names that machine descriptions use, and the scenarios that a description makes of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kernel_witness.guest import (
    departures,
    files,
    framework,
    framework_attributes,
    framework_removal,
    framework_trees,
    registers,
    scenarios,
    walk,
)
from kernel_witness.guest.machine import Machine, table
from kernel_witness.guest.recorder import Recorder

__all__ = ["PROBES", "named_scenario"]

Probe = Callable[[Recorder, Machine], None]

PROBES: Mapping[str, Probe] = {
    "calls": files.calls,
    "counters": registers.counters,
    "counts": scenarios.counts,
    "crash-limit": files.crash_limit,
    "crash-rebind": departures.crash_rebind,
    "crash-window": files.crash_window,
    "device-files": files.device_files,
    "faults": registers.faults,
    "few-units": scenarios.few_units,
    "fields": registers.fields,
    "framework-beside-rapl": framework_trees.beside_rapl,
    "framework-callbacks": framework_attributes.chosen,
    "framework-calls": framework_attributes.odd_calls,
    "framework-constraint-names": framework_attributes.constraint_names,
    "framework-dtpm": framework_trees.dtpm,
    "framework-errors": framework_attributes.failing,
    "framework-held": framework_removal.held_zone,
    "framework-idle-injection": framework_trees.idle_injection,
    "framework-ids": framework.ids,
    "framework-kernel-doc": framework_trees.kernel_doc,
    "framework-links": framework.links,
    "framework-numbers": framework_attributes.numbers,
    "framework-orders": framework_removal.orders,
    "framework-parents": framework.parents,
    "framework-resets": framework_attributes.resets,
    "framework-switches": framework_attributes.switches,
    "framework-types": framework.types,
    "framework-under-the-gone": framework_removal.under_the_gone,
    "framework-writes": framework_attributes.written,
    "framework-wrong-types": framework_removal.wrong_types,
    "framework-zones": framework.zones,
    "held": departures.held,
    "hotplug": departures.hotplug,
    "hotplug-changes": departures.hotplug_changes,
    "hotplug-order": departures.hotplug_order,
    "infos": scenarios.infos,
    "late-locks": registers.late_locks,
    "locks": scenarios.locks,
    "masks": registers.masks,
    "missing": scenarios.missing,
    "odd-suspend": departures.odd_suspend,
    "one-die-lacks": scenarios.one_die_lacks,
    "psys-writes": files.psys_writes,
    "reads": files.reads,
    "rebind": departures.rebind,
    "short-writes": files.short_writes,
    "suspend": departures.suspend,
    "teardown-faults": departures.teardown_faults,
    "topology": files.topology,
    "touch": files.touch_all,
    "units": scenarios.units,
    "units-per-die": scenarios.units_per_die,
    "unreadable": scenarios.unreadable,
    "walk": walk.walk,
    "while-offline": departures.while_offline,
    "windows": registers.windows,
    "writes": files.writes,
}


def named_scenario(recorder: Recorder, machine: Machine, scenario: Mapping[str, Any]) -> None:
    """Do one scenario of the machine's own: registers set and dropped, commands, then probes."""
    registers = machine.copy()
    for die, words in table(scenario.get("set", {})).items():
        registers.setdefault(die, {}).update(words)
    for die, addresses in scenario.get("drop", {}).items():
        for address in addresses:
            registers[int(die)].pop(int(address, 0), None)
    scenarios.reload(recorder, machine, registers, scenario["label"], tuple(scenario.get("commands", ())))
    for probe in scenario.get("probes", ()):
        PROBES[probe](recorder, machine)
