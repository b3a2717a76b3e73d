# SPDX-License-Identifier: Apache-2.0
"""Clauses on the trees that a recorded kernel had later: after CPUs went, drivers came back, clients had their way.

What was there as loaded is judged in test_clauses_machines.py. A client of the framework may do what no driver does,
and a clause says so: that is listed here.
"""

from pathlib import Path

import pytest

from raplica_conformance.clause import Clause, load_clauses
from raplica_conformance.judge import judge
from raplica_conformance.subject import control_types
from raplica_conformance.subjects.recording import RecordedTree
from raplica_fixtures.recording import Framework, Recording, TreeStep, load_recording

# A whole suite or tree each time: the quick set of the other Pythons leaves them out.
pytestmark = pytest.mark.slow

RECORDINGS = sorted((Path(__file__).parents[2] / "fixtures" / "recordings").glob("*.json*"))
#: By machine the recording of the newest kernel.
NEWEST = {path.name.partition(".json")[0].rpartition("-")[0]: path for path in RECORDINGS}

#: Trees of a machine with a driver that are looked at, evenly over its recording; of the framework all are.
MOST = 2
#: By machine: what its client has wrong. A zone whose name is a blank; one that went before its child.
ODD = {
    "framework": {"powercap.zone.name-blanks"},
    "framework-removal": {"powercap.class.leads"},
}


class LaterTree(RecordedTree):
    """The tree at one step; what a client registered under a driver's name is not that driver's."""

    def __init__(self, recording: Recording, step: TreeStep) -> None:
        self.name = f"{recording.machine}: {step.label}"
        self.kernel = recording.kernel_full
        self.arguments = ("--recording", recording.machine)
        self._entries = step.entries
        self._uid, self._is_of_a_copy = 0, False
        client = any(isinstance(other, Framework) for other in recording.steps)
        # What is called dtpm has dtpm's callbacks.
        self.composed = frozenset(control_types(self) if client else ()) - {"dtpm"}


def trees(recording: Recording) -> list[LaterTree]:
    """Every tree that is like no other of the recording, or some of them."""
    different: dict[str, TreeStep] = {}
    for step in recording.steps:
        if isinstance(step, TreeStep):
            different.setdefault(repr(sorted(step.entries.items())), step)
    steps = list(different.values())
    if not any(isinstance(step, Framework) for step in recording.steps):
        steps = steps[:: max(1, -(-len(steps) // MOST))]
    return [LaterTree(recording, step) for step in steps]


def answered() -> list[Clause]:
    """The clauses that a recorded tree can answer."""
    return [c for c in load_clauses().values() if c.kind == "provider" and c.needs <= RecordedTree.can]


@pytest.mark.untraced  # test_clauses_machines.py shows it
@pytest.mark.parametrize("path", NEWEST.values(), ids=NEWEST)
def test_every_later_tree_of_a_recording_is_right(path: Path) -> None:
    recording = load_recording(path)
    found = trees(recording)
    verdicts = [judge(clause, tree) for tree in found for clause in answered()]
    assert {verdict.verdict for verdict in verdicts} <= {"pass", "fail", "not-applicable"}
    failed = {f"{v.clause.id} ({v.subject}): {v.reason}" for v in verdicts if v.verdict == "fail"}
    assert {line for line in failed if line.partition(" ")[0] not in ODD.get(recording.machine, set())} == set()
    assert bool(failed) == (recording.machine in ODD)
    assert all(any(v.verdict == "pass" for v in verdicts if v.subject == tree.name) for tree in found)
