# SPDX-License-Identifier: Apache-2.0
"""From the options of a command to the subjects that it judges; each kind is imported only when it is asked for."""

from typing import Any

from raplica_conformance.gathered import Gathered, GatherError, Request, add_files, check, powermetrics

__all__ = ["GatherError", "Gathered", "Request", "check", "gather"]


def gather(request: Request) -> Gathered:
    """Make the subjects. GatherError for a wrong wish; a place without powercap is not an error but noted."""
    check(request)
    gathered = Gathered()
    others = request.real or request.trees or request.recordings or request.powermetrics
    if request.machines or not others:
        for subject in _machines(request):
            gathered.add(subject)
    for command in request.powermetrics:
        gathered.add(powermetrics(command))
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
