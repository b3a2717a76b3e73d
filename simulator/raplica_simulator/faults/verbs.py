# SPDX-License-Identifier: Apache-2.0
"""Every event that can happen to a machine, by its verb, and the one reader of them.

The events of a scenario and the requests at the control door are the same tables:
``{"do": "wrap", "domain": "package-0", "in_s": "0.5"}``.  An event is checked against the machine with
:meth:`.Event.check` and done with :meth:`.Event.do`; it knows of no time.

>>> from raplica_simulator import Machine
>>> from raplica_simulator.linux.msr_dev import MsrModule
>>> machine = Machine.from_profile("skylake-sp-2s")
>>> event = read_event({"do": "offline", "package": 1})
>>> event.check(machine)
>>> event.do(machine, MsrModule(machine))
>>> machine.sysfs.listdir("class/powercap")
['intel-rapl:0:0', 'intel-rapl', 'intel-rapl:0']
"""

from __future__ import annotations

from collections.abc import Mapping

from raplica_simulator.faults.counters import COUNTER_VERBS
from raplica_simulator.faults.errors import ERROR_VERBS
from raplica_simulator.faults.event import Event
from raplica_simulator.faults.machine import MACHINE_VERBS
from raplica_simulator.profile.shape import Where, build, describe, nearest

__all__ = ["VERBS", "Event", "read_event"]

VERBS: Mapping[str, type[Event]] = {**MACHINE_VERBS, **COUNTER_VERBS, **ERROR_VERBS}


def read_event(table: Mapping[str, object], where: Where | None = None, beside: tuple[str, ...] = ()) -> Event:
    """The event that a table says: its verb under ``do`` and the verb's own keys; those ``beside`` are the caller's.

    Raises ProfileError (a ValueError), one line with the place: an unknown verb or key with the nearest known one, a
    key that is missing, a value that does not fit it.  Whether it fits a machine is asked by :meth:`.Event.check`.
    """
    verb = table.get("do")
    place = Where("event", verb if isinstance(verb, str) and verb in VERBS else "") if where is None else where
    if verb is None:
        raise place.error('do is missing: say what happens, such as do = "wrap"')
    if not isinstance(verb, str) or verb not in VERBS:
        hint = nearest(verb, VERBS) if isinstance(verb, str) else ""
        raise place.at("do").error(f"{describe(verb)} is no event{hint} (known are {', '.join(VERBS)})")
    return build(VERBS[verb], {key: value for key, value in table.items() if key != "do"}, place, beside)
