# SPDX-License-Identifier: Apache-2.0
"""From the options of a command to the subjects that it judges; each kind is imported only when it is asked for."""

from collections.abc import Sequence
from typing import Any

from raplica_conformance.gathered import Gathered, GatherError, Request, add_files, check, powermetrics
from raplica_fixtures import mac_ids

__all__ = ["GatherError", "Gathered", "Request", "check", "gather"]


def gather(request: Request) -> Gathered:
    """Make the subjects. GatherError for a wrong wish; a place without powercap is not an error but noted."""
    check(request)
    gathered = Gathered()
    others = request.real or request.trees or request.recordings or request.powermetrics or request.windows
    if request.machines or not others:
        for subject in _machines(request):
            gathered.add(subject)
    if request.windows or not (others or request.machines or request.kernel):
        for subject in _windows(request.windows):
            gathered.add(subject)
    for command in request.powermetrics or (() if others or request.machines or request.kernel else mac_ids()):
        gathered.add(_mac(command) if command in mac_ids() else powermetrics(command))
    add_files(gathered, request)
    return gathered


def _machines(request: Request) -> list[Any]:
    """For each machine its simulated tree, then the reference reader on the same machine."""
    from raplica_conformance.subjects.reader import ReferenceReader
    from raplica_conformance.subjects.simulator import SimulatedMachine
    from raplica_fixtures import profile_ids

    subjects: list[Any] = []
    for machine in request.machines or profile_ids():
        try:
            simulated = SimulatedMachine(machine, request.kernel)
        except (ValueError, OSError) as error:
            raise GatherError(str(error)) from error
        subjects += [simulated, ReferenceReader(simulated)]
    return subjects


def _mac(name: str) -> Any:
    """A simulated Mac."""
    from raplica_conformance.subjects.macos import SimulatedMac

    return SimulatedMac(name)


def _windows(named: Sequence[str]) -> list[Any]:
    """Simulated Windows with a driver each; where none is named, one of every kind."""
    from raplica_conformance.subjects.windows import DEFAULT, SimulatedWindows

    try:
        return [SimulatedWindows(one) for one in named or DEFAULT]
    except (ValueError, OSError) as error:
        raise GatherError(str(error)) from error
