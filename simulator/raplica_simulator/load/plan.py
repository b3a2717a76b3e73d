# SPDX-License-Identifier: Apache-2.0
"""What ``--load`` says: watts that a machine's domains want, and how they change while it runs.

A plan is read once and may drive several machines.  Nothing ticks: whoever is about to look at a machine first lets
its plan catch up, and what has changed meanwhile is done at the moment at which it changed, to the nanosecond.
"""

from dataclasses import dataclass
from typing import Protocol

from raplica_simulator.live.clock import LiveClock
from raplica_simulator.live.timeline import Course
from raplica_simulator.load.control import merge_load
from raplica_simulator.load.demand import Watts, watts_by_name
from raplica_simulator.load.host import HostLoad
from raplica_simulator.load.shapes import Level, ShapedLoad, read_shape
from raplica_simulator.load.trace import read_trace
from raplica_simulator.machine import Machine

__all__ = ["ConstantLoad", "LoadPlan", "read_load"]


class LoadPlan(Protocol):
    """What a machine's domains want over its time."""

    def begin(self, machine: Machine, clock: LiveClock) -> Course | None:
        """Apply what holds at once, at time 0 of the machine, and return what comes later; None for nothing.

        ValueError in one line for watts that do not fit the machine.
        """
        ...


@dataclass(frozen=True, slots=True)
class ConstantLoad:
    """The same watts for ever, by name as :meth:`.LoadControl.set` takes them."""

    watts: dict[str, Watts]

    def begin(self, machine: Machine, clock: LiveClock) -> None:  # noqa: ARG002 - the plans have one signature
        """Set them."""
        load = merge_load(machine.load.now(), self.watts)
        load.check(machine.profile.topology)
        machine.load.replace(load)


def read_load(text: str) -> LoadPlan:
    """Read SPEC: watts by domain such as ``package=100,dram=8``, a file ``….csv``, or ``host``.

    In place of watts a domain may have a shape: ``package=sine:40:100:60``, ``dram=ramp:2:8:600``.  Raises ValueError
    in one line for anything else, OSError where the file cannot be read.
    """
    if text == "host":
        return HostLoad()
    if text.endswith(".csv"):
        return read_trace(text)
    if "=" not in text:
        raise ValueError(
            f"load: {text!r} is none of package=100,dram=8 (watts), package=sine:40:100:60 (a shape), "
            f"a file that ends in .csv, or host"
        )
    words = watts_by_name(text)
    shapes = {name: read_shape(str(word), name) for name, word in words.items()}
    if all(isinstance(shape, Level) for shape in shapes.values()):
        return ConstantLoad(words)
    return ShapedLoad(shapes)
