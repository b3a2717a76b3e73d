# SPDX-License-Identifier: Apache-2.0
"""What `raplica mount` does: show a machine until somebody says stop, and leave no mount behind.

Here and not among the surfaces, because signals, "ready" and lines on stderr belong to a command; a program that shows
a machine itself uses :class:`.FuseMount`.
"""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from raplica_simulator.control.door import Control
from raplica_simulator.control.server import ControlDoor
from raplica_simulator.live.machine import LiveMachine
from raplica_simulator.live.signals import stopped_by_signals
from raplica_simulator.scenario.punctual import Punctual
from raplica_simulator.surfaces.fuse import CannotMount, FuseMount

__all__ = ["CannotMount", "show"]


def show(
    live: LiveMachine,
    directory: str,
    *,
    allow_other: bool = False,
    control: str | None = None,
    step: bool = False,
    ready: Callable[[], None],
    tell: Callable[[str], None],
) -> None:
    """Mount ``live`` on ``directory``, let its time run, call ``ready``, and unmount on a signal or when it is gone.

    ``tell`` gets lines for a person.  The first of SIGINT, SIGTERM and SIGHUP ends it, those that follow change
    nothing any more; an order through ``control``, the path of its control door, ends it too.  Where it is to ``step``
    time stands until an order moves it.  Raises as :class:`.FuseMount` and :class:`.ControlDoor` do, and what ``ready``
    raises, after it was unmounted.
    """
    machine = live.machine
    with (
        stopped_by_signals() as stop,
        FuseMount(live, directory, allow_other=allow_other, host_files=True, troubles=tell) as mounted,
        Punctual(live, mounted.held, tell),
        _door(control, Control(live, mounted.call_in, end=stop.set)),
    ):

        def follow() -> None:
            mounted.wait()
            stop.set()

        threading.Thread(target=follow, name="raplica-follow", daemon=True).start()
        for warning in machine.warnings:
            tell(f"warning: {warning}")
        if not step:
            live.let_time_run()
        ready()
        stop.wait()


def _door(path: str | None, control: Control) -> AbstractContextManager[object]:
    return nullcontext() if path is None else ControlDoor(control, path)
