# SPDX-License-Identifier: Apache-2.0
"""What `raplica serve-windows` does: a Windows on a live machine, asked through a socket until somebody says stop."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

from raplica_simulator.control.door import Control
from raplica_simulator.control.server import ControlDoor
from raplica_simulator.live.machine import LiveMachine
from raplica_simulator.live.signals import stopped_by_signals
from raplica_simulator.scenario.punctual import Punctual
from raplica_simulator.serve.windows_door import WindowsDoor
from raplica_simulator.serve.windows_drivers import DEFAULT_DRIVERS, install
from raplica_simulator.windows.system import WindowsSystem

__all__ = ["serve_windows"]


def serve_windows(
    live: LiveMachine,
    path: str,
    *,
    drivers: Sequence[str] = DEFAULT_DRIVERS,
    administrator: bool = True,
    control: str | None = None,
    step: bool = False,
    ready: Callable[[], None],
    tell: Callable[[str], None],
) -> None:
    """Install ``drivers``, let time run, answer at ``path``, call ``ready``, and end on a signal.

    Clients are processes that run elevated where ``administrator`` says so.  ``tell`` gets lines for a person.  The
    first of SIGINT, SIGTERM and SIGHUP ends it, and so does an order through ``control``, the path of its control
    door; no socket is left.  Where it is to ``step`` time stands until an order moves it.  Raises as :func:`.install`,
    :class:`.WindowsDoor` and :class:`.ControlDoor` do.
    """
    system = WindowsSystem(live.machine, lock=live.held())
    install(system, drivers)
    with (
        stopped_by_signals() as stop,
        _orders(control, Control(live, end=stop.set)),
        Punctual(live, live.held, tell),
        WindowsDoor(system, path, administrator=administrator),
    ):
        for warning in live.machine.warnings:
            tell(f"warning: {warning}")
        if not step:
            live.let_time_run()
        ready()
        stop.wait()


def _orders(path: str | None, control: Control) -> AbstractContextManager[object]:
    return nullcontext() if path is None else ControlDoor(control, path)
