# SPDX-License-Identifier: Apache-2.0
"""The powercap framework's own rules, by a module that registers what it is told to: registering, refusals, ids.

modules/raplica_framework.c says what a command may be. Each is a step of its own: what came of it, which callbacks the
framework called meanwhile, and what the kernel announced.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from typing import Any

from kernel_witness.guest.machine import Machine
from kernel_witness.guest.recorder import Recorder
from kernel_witness.guest.system import errno_name

__all__ = ["MANDATORY", "POWER", "Framework", "ids", "links", "parents", "types", "zones"]

_COMMANDS = "/proc/raplica/framework"
_LONG = "x" * 200
Json = dict[str, Any]

MANDATORY = ("set_power_limit_uw", "get_power_limit_uw", "set_time_window_us", "get_time_window_us")
# The least that a zone needs.
POWER = f"ops=get_power_uw cops={','.join(MANDATORY)}"


class Framework:
    """The client of the framework, and the one who writes down what it did."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._commands = os.open(_COMMANDS, os.O_RDWR)
        self._seen = 0

    def close(self) -> None:
        """Let the module go."""
        os.close(self._commands)

    def do(self, command: str) -> None:
        """Give one command; `ValueError` where the module does not understand it."""

        def doing() -> Json:
            said: Json = {"command": command}
            try:
                os.write(self._commands, command.encode())
                said["ret"] = 0
            except OSError as error:
                if error.errno == errno.EBADMSG:
                    raise ValueError(f"the module does not understand: {command}") from None
                said |= {"ret": -1, "errno": errno_name(error.errno or 0)}
            self._seen = 0
            return said | self._called()

        self._recorder.calls("framework", None, doing)

    def called(self) -> None:
        """Write down which callbacks were called since the last step of this kind."""
        self._recorder.calls("framework", None, lambda: {"command": "called", "ret": 0, **self._called()})

    def _called(self) -> Json:
        parts = []
        while part := os.pread(self._commands, 1 << 16, self._seen):
            parts.append(part)
            self._seen += len(part)
        lines = b"".join(parts).decode().splitlines()
        return {"calls": lines} if lines else {}

    def all(self, commands: Iterable[str]) -> None:
        """Give several commands."""
        for command in commands:
            self.do(command)


def types(recorder: Recorder, _: Machine) -> None:
    """Register control types under every kind of name, with and without memory of the client's own."""
    recorder.label("control types: names, and memory of the client's own")
    framework = Framework(recorder)
    framework.all(
        (
            *("type none", "type none ops=", "type empty name=", "type plain name=plain", "type again name=plain"),
            *("type own own name=own", "type own own ops= name=own", "type own own ops=set_enable name=own"),
            *("type own own ops=release name=own", "type own-again own ops=release name=plain"),
            "type again ops=release name=plain",
            *("type slash name=a/b", "type exclaim name=a!b", "type slashes ops=get_enable name=/a/b/"),
            *("type blank name=a b", "type dots name=...", f"type long name={_LONG}", f"type longest name={'y' * 255}"),
            *(f"type too-long name={'z' * 256}", "type colon name=colon:0", "type case name=Plain"),
        )
    )
    recorder.tree("control types")
    names = ("plain", "own", "slash", "slashes", "blank", "dots", "long", "longest", "too-long", "colon", "case")
    framework.all(f"untype {name}" for name in names)
    # Their memory is the client's, so it may ask again.
    framework.all(("untype own", "untype own-again"))
    recorder.tree("control types gone")
    framework.all(("type plain name=plain", "untype plain"))
    framework.close()


def zones(recorder: Recorder, _: Machine) -> None:
    """Register zones with everything left out that can be left out, and with every number of constraints."""
    recorder.label("zones: what is refused")
    framework = Framework(recorder)
    whole = ",".join(MANDATORY)
    framework.all(("type t name=t", "type gone own ops=release name=gone", "untype gone"))
    refused = [
        *(f"zone z {POWER} name=z", f"zone z type=t {POWER}", f"zone z type=t cops={whole} name=z"),
        *("zone z type=t ops=get_power_uw name=z", "zone z type=t ops=get_energy_uj cops= name=z"),
        *(f"zone z type=t ops= cops={whole} name=z", f"zone z type=gone {POWER} name=z"),
        f"zone z type=t ops=get_max_energy_range_uj,get_max_power_range_uw,reset_energy_uj cops={whole} name=z",
        *(f"zone z own type=t {POWER} name=z", "zone z own type=t ops=get_power_uw,release name=z"),
    ]
    for constraints in (0, 1):
        for missing in MANDATORY:
            others = ",".join(name for name in MANDATORY if name != missing)
            refused.append(f"zone z type=t constraints={constraints} ops=get_power_uw cops={others} name=z")
    for constraints in (11, 12, 2147483647, -1, -2, -2147483648):
        refused.append(f"zone z type=t constraints={constraints} {POWER} name=z")
        refused.append(f"zone z type=t constraints={constraints} ops=get_power_uw name=z")
        refused.append(f"zone z type=t constraints={constraints} ops= cops={whole} name=z")
        refused.append(f"zone z own type=t constraints={constraints} ops=get_power_uw,release cops={whole} name=z")
    framework.all(refused)
    recorder.tree("nothing but refusals")
    recorder.label("zones: what is accepted")
    names = ("z", "z", "", "with blank", " ", "with/slash", "Größe", "%s%d", _LONG, "n" * 1000)
    framework.all(f"zone {index} type=t {POWER} name={name}" for index, name in enumerate(names))
    for constraints in (1, 9, 10):
        framework.do(f"zone c{constraints} type=t constraints={constraints} {POWER} name=constraints")
    framework.do(f"zone energy type=t ops=get_energy_uj cops={whole} name=energy alone")
    framework.do(f"zone own own type=t ops=get_energy_uj,release cops={whole} name=own")
    recorder.tree("zones of every name")
    framework.all(("untype t", "unzone own"))
    for key in (*range(len(names)), "c1", "c9", "c10", "energy"):
        framework.do(f"unzone {key}")
    framework.do("untype t")
    framework.close()


def ids(recorder: Recorder, _: Machine) -> None:
    """Register many zones, take some out, register again: numbers are hexadecimal, the lowest free one is taken."""
    recorder.label("ids")
    framework = Framework(recorder)
    framework.do("type t name=plain")
    framework.all(f"zone {index} type=t {POWER} name=zone {index}" for index in range(18))
    recorder.tree("eighteen zones")
    framework.all(f"unzone {index}" for index in (16, 3, 10, 0))
    framework.all(f"zone again{index} type=t {POWER} name=again {index}" for index in range(5))
    for parent in ("16", "again0", "17"):
        key = parent if parent != "16" else "again3"
        framework.all(f"zone {key}-{index} type=t parent={key} {POWER} name=child" for index in range(2))
    recorder.tree("ids used again")
    framework.all(f"unzone {key}-{index}" for key in ("again3", "again0", "17") for index in range(2))
    framework.all(f"unzone again{index}" for index in range(5))
    framework.all(f"unzone {index}" for index in range(18) if index not in (0, 3, 10, 16))
    framework.do("untype t")
    recorder.tree("all gone")
    framework.close()


def parents(recorder: Recorder, _: Machine) -> None:
    """Nest zones deeply, and below zones of another control type."""
    recorder.label("parents")
    framework = Framework(recorder)
    framework.all(("type a name=a", "type b name=b/c", f"zone 0 type=a {POWER} name=top"))
    framework.all(f"zone {depth} type=a parent={depth - 1} {POWER} name=depth {depth}" for depth in range(1, 6))
    framework.all((f"zone other type=b parent=2 {POWER} name=other", f"zone below type=a parent=other {POWER} name=x"))
    framework.do(f"zone b type=b {POWER} name=of b")
    recorder.tree("deep, and of two control types")
    framework.all(("untype a", "untype b", "unzone below", "unzone other", "unzone b", "untype b"))
    framework.all(f"unzone {depth}" for depth in range(5, -1, -1))
    framework.do("untype a")
    framework.close()


def links(recorder: Recorder, _: Machine) -> None:
    """Let the name of a control type meet that of a zone: the class has one directory for both."""
    recorder.label("names that meet in the class")
    framework = Framework(recorder)
    framework.all(("type c name=c", f"zone c type=c {POWER} name=first", "type same name=c:0"))
    framework.do("type own own ops=release name=c:0")
    framework.all(("untype own", "type d0 name=d:0", "type d name=d"))
    recorder.tree("a name is taken")
    for _attempt in range(2):
        framework.do(f"zone d type=d {POWER} name=refused")
        for memory in ("", "own "):
            framework.do(f"zone d {memory}type=d ops=get_power_uw,release cops={','.join(MANDATORY)} name=refused")
    framework.all((f"zone e type=d parent=c {POWER} name=child of c", "untype d0", f"zone d type=d {POWER} name=d"))
    recorder.tree("a name is free again")
    framework.all(("unzone d", "unzone e", "unzone c", "untype d", "untype c"))
    framework.close()
