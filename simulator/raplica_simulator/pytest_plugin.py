# SPDX-License-Identifier: Apache-2.0
"""Fixtures for pytest: a machine, its clock, and the ways for a test to meet it.  All of one test show one machine.

``@pytest.mark.rapl("kabylake", "zen4", scenario="wrap")`` says which machines there are and what happens to them; a
test with several runs once on each.  Every pytest that has raplica installed loads this module, so it imports nothing
but pytest until a test asks for one of the fixtures.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from raplica_simulator.real_disk import keep_real, real_disk

if TYPE_CHECKING:
    from pyfakefs.fake_filesystem import FakeFilesystem

    from raplica_simulator.testing import FakeMachine, LiveFiles, StepClock

__all__ = ["powercap_fakefs", "powercap_tree", "rapl_clock", "rapl_live", "rapl_machine"]

_MARKER = (
    "rapl(*machines, kernel=None, load=None, scenario=None, at_s=None, near_wrap_s=None): the machine of the raplica "
    "fixtures: ids, profiles or recordings, and how each is made; with several the test runs on each"
)


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known, so that --strict-markers lets it pass."""
    config.addinivalue_line("markers", _MARKER)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Let a test run on each machine of its marker where that has several."""
    marker = metafunc.definition.get_closest_marker("rapl")
    if marker is not None and len(marker.args) > 1 and "rapl_machine" in metafunc.fixturenames:
        metafunc.parametrize("rapl_machine", marker.args, indirect=True, ids=_name_of)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Load the simulator before another fixture may put a fake file system in the place of the real one."""
    if "rapl_machine" in getattr(item, "fixturenames", ()):
        with real_disk():
            import raplica_simulator.testing  # noqa: F401

            keep_real()


@pytest.fixture
def rapl_machine(request: pytest.FixtureRequest) -> "FakeMachine":
    """A simulated machine with energy counters and power limits; its time stands until the test moves it.

    ``@pytest.mark.rapl("kabylake", kernel="6.12", load={"package": 10})`` says which; the default is skylake-sp-2s.
    """
    from raplica_simulator.testing import MachineOptions, fake_machine

    marker = request.node.get_closest_marker("rapl") or pytest.mark.rapl().mark
    if len(marker.args) > 1 and not hasattr(request, "param"):
        raise _refused(
            "the marker has several machines: name rapl_machine, or what shows it, as an argument of the test"
        )
    machine = getattr(request, "param", marker.args[0] if marker.args else None)
    unknown = [word for word in marker.kwargs if word not in MachineOptions.__annotations__]
    if unknown:
        raise _refused(f"{unknown[0]} is not known{_near(unknown[0], MachineOptions.__annotations__)}")
    try:
        return fake_machine(machine, **marker.kwargs)
    except (OSError, TypeError, ValueError) as error:
        raise _refused(str(error)) from None


@pytest.fixture
def rapl_clock(rapl_machine: "FakeMachine") -> "StepClock":
    """The machine's clock: ``rapl_clock.advance(seconds=10)`` moves its time, as ``rapl_machine.step(10)`` does."""
    return rapl_machine.clock


@pytest.fixture
def powercap_tree(rapl_machine: "FakeMachine", request: pytest.FixtureRequest) -> Iterator[Path]:
    """The machine's /sys in a directory of the test's own, as it was when the test began: a snapshot."""
    from raplica_simulator.testing import powercap_tree as written

    with written(rapl_machine, _place(request, "sys")) as tree:
        yield tree


@pytest.fixture
def powercap_fakefs(rapl_machine: "FakeMachine", request: pytest.FixtureRequest) -> Iterator["FakeFilesystem"]:
    """The machine live in pyfakefs' ``fs``: /sys with powercap, /dev/cpu/N/msr and /proc/cpuinfo."""
    from raplica_simulator.testing import powercap_fakefs as shown

    try:
        with real_disk():
            import raplica_simulator.surfaces.fakefs  # noqa: F401 - before fs is patched in
    except ImportError as error:
        raise _refused(str(error)) from None
    keep_real()
    try:
        fs = request.getfixturevalue("fs")
    except pytest.FixtureLookupError:  # its own plugin is switched off
        fs = None
    with shown(rapl_machine, fs) as filesystem:
        yield filesystem


@pytest.fixture
def rapl_live(rapl_machine: "FakeMachine", request: pytest.FixtureRequest) -> Iterator["LiveFiles"]:
    """The machine mounted: every program can read it below ``rapl_live.sysfs`` and ``rapl_live.dev``.

    Skips where nothing can be mounted, saying what is missing; with RAPLICA_FUSE=required that is an error.
    """
    from raplica_simulator.testing import CannotMount, live_machine

    with ExitStack() as stack:
        try:
            files = stack.enter_context(live_machine(rapl_machine, _place(request, "live")))
        except CannotMount as error:
            reason = f"nothing can be mounted here: {error}"
            if os.environ.get("RAPLICA_FUSE") == "required":
                raise _refused(f"RAPLICA_FUSE=required, and {reason}") from None
            raise pytest.skip.Exception(reason) from None
        yield files


def _place(request: pytest.FixtureRequest, name: str) -> Path:
    """A name in the test's own folder, on the real disk."""
    with real_disk():
        return Path(request.getfixturevalue("tmp_path")) / name


def _refused(reason: str) -> BaseException:
    """What ends a test in one line: what is wrong with its marker, or what is missing."""
    return pytest.fail.Exception(f"rapl: {reason}", pytrace=False)


def _near(word: str, known: Iterable[str]) -> str:
    from raplica_simulator.profile.shape import nearest

    return f"{nearest(word, known)} (known are {', '.join(known)})"


def _name_of(machine: Any) -> str:
    """How a test's name says which machine it runs on: an id, or the name of a file without its folder."""
    return Path(machine).name if isinstance(machine, str | os.PathLike) else str(getattr(machine, "id", machine))
