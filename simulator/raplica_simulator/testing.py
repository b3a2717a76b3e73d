# SPDX-License-Identifier: Apache-2.0
"""Machines for the tests of other projects: in process, as a directory, in pyfakefs, or mounted.

The fixtures of the pytest plugin are made of these, and ``unittest.TestCase.enterContext`` takes them as they are.

>>> with fake_machine("kabylake", load={"package": 10}) as machine:
...     machine.step(60)
...     machine.truth_uj("package-0")
600000000
"""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypedDict, Unpack

from raplica_simulator.fake_machine import FakeMachine, Seconds, StepClock, read_seconds
from raplica_simulator.live.machine import wind
from raplica_simulator.load.plan import LoadPlan, read_load
from raplica_simulator.profile.profile import Profile, load_profile
from raplica_simulator.real_disk import real_disk
from raplica_simulator.scenario.punctual import Punctual
from raplica_simulator.scenario.scenario import Scenario
from raplica_simulator.surfaces.directory import write_tree
from raplica_simulator.surfaces.fuse import CannotMount, FuseMount

if TYPE_CHECKING:
    from pyfakefs.fake_filesystem import FakeFilesystem

__all__ = [
    "DEFAULT_MACHINE",
    "CannotMount",
    "FakeMachine",
    "LiveFiles",
    "MachineOptions",
    "StepClock",
    "fake_machine",
    "live_machine",
    "powercap_fakefs",
    "powercap_tree",
]

#: The machine of who names none: two packages, each with dram.
DEFAULT_MACHINE = "skylake-sp-2s"

#: What a machine can be made from: an id, the path of a profile or a recording, a profile, or one that is there.
MachineSource = str | os.PathLike[str] | Profile | FakeMachine | None


class MachineOptions(TypedDict, total=False):
    """How :func:`fake_machine` makes a machine; the keywords of ``@pytest.mark.rapl``.

    ``kernel``: the kernel that it runs, such as "6.12".  ``load``: the watts of its domains, ``{"package": 100}`` or
    as ``--load`` has them.  ``scenario``: the id or the ``.toml`` file of what happens to it.  ``at_s``: the seconds
    that it has run already.  ``near_wrap_s``: the seconds after which every counter that moves wraps.
    """

    kernel: str | None
    load: str | Mapping[str, object] | None
    scenario: str | os.PathLike[str] | Scenario | None
    at_s: Seconds | None
    near_wrap_s: Seconds | None


class LiveFiles(NamedTuple):
    """A mounted machine.

    Attributes:
        machine: the machine.
        directory: where it is mounted.
    """

    machine: FakeMachine
    directory: Path

    @property
    def sysfs(self) -> Path:
        """Its ``/sys``."""
        return self.directory / "sys"

    @property
    def dev(self) -> Path:
        """Its ``/dev``, with ``cpu/N/msr``."""
        return self.directory / "dev"

    @property
    def proc(self) -> Path:
        """Its ``/proc``, with ``cpuinfo``."""
        return self.directory / "proc"

    def __fspath__(self) -> str:
        return str(self.directory)


def fake_machine(
    machine: str | os.PathLike[str] | Profile | None = None,
    *,
    kernel: str | None = None,
    load: str | Mapping[str, object] | None = None,
    scenario: str | os.PathLike[str] | Scenario | None = None,
    at_s: Seconds | None = None,
    near_wrap_s: Seconds | None = None,
) -> FakeMachine:
    """Make a machine for a test; see :class:`MachineOptions`.

    ``machine`` is a built-in id, a ``.toml`` profile or a ``.json`` recording; left out it is the scenario's own, else
    :data:`DEFAULT_MACHINE`.  Raises ValueError in one line that says what would be right, OSError for a file that
    cannot be read.
    """
    with real_disk():
        return _make(machine, kernel, _read_load(load), scenario, at_s, near_wrap_s)


@contextmanager
def powercap_tree(
    machine: MachineSource = None,
    directory: str | os.PathLike[str] | None = None,
    **options: Unpack[MachineOptions],
) -> Iterator[Path]:
    """A machine's ``/sys`` as it is now, in a directory: new or empty, else a temporary one, deleted at the end.

    It is a snapshot: it does not move, and what cannot be read is an empty file.  A fake file system that is patched
    in sees it too.  ``machine`` and ``options`` as :func:`fake_machine` has them, or a machine that is there.  Raises
    as that does, and :class:`.Refused`, a ValueError, for a directory that is not empty.
    """
    shown = _the_machine(machine, options)
    with _folder(directory, "sys") as tree:
        with real_disk() as fs, shown.held():
            write_tree(shown, tree)
        if fs is not None:
            fs.add_real_directory(tree, read_only=False)
        try:
            yield Path(tree)
        finally:
            # What was given stays, as on the real disk; ours goes with its temporary folder, unless the test took it.
            if fs is not None and directory is None and fs.exists(folder := os.path.dirname(tree)):  # noqa: PTH120
                fs.remove_object(folder)


@contextmanager
def powercap_fakefs(
    machine: MachineSource = None,
    fs: "FakeFilesystem | None" = None,
    **options: Unpack[MachineOptions],
) -> Iterator["FakeFilesystem"]:
    """A machine in the fake file system of pyfakefs: ``fs``, or one that is patched in until the end.

    ``/sys`` with powercap and processors, ``/dev/cpu/N/msr`` and ``/proc/cpuinfo`` are live.  ``machine``, ``options``
    and errors as :func:`fake_machine`; ImportError where pyfakefs is not installed, with what to do.
    """
    with real_disk():
        from raplica_simulator.surfaces.fakefs import fake_filesystem, show_in

    shown = _the_machine(machine, options)
    with fake_filesystem(fs) as filesystem, show_in(filesystem, shown.live):
        yield filesystem


@contextmanager
def live_machine(
    machine: MachineSource = None,
    directory: str | os.PathLike[str] | None = None,
    **options: Unpack[MachineOptions],
) -> Iterator[LiveFiles]:
    """A machine mounted with FUSE on a directory, new or empty, else a temporary one: every program can read it.

    ``machine``, ``options`` and errors as :func:`fake_machine`; :class:`CannotMount`, a RuntimeError in one line on
    what is missing, where nothing can be mounted.
    """
    shown = _the_machine(machine, options)
    with _folder(directory, "live") as place, _mounted(shown, place) as files:
        yield files


@contextmanager
def _folder(directory: str | os.PathLike[str] | None, name: str) -> Iterator[str]:
    """The directory that was given, else a new name in a temporary one, which is deleted at the end."""
    if directory is not None:
        yield os.fspath(directory)
        return
    with real_disk():
        temporary = tempfile.mkdtemp(prefix="raplica-")
    try:
        yield f"{temporary}/{name}"
    finally:
        with real_disk():
            shutil.rmtree(temporary)


@contextmanager
def _mounted(machine: FakeMachine, directory: str | os.PathLike[str]) -> Iterator[LiveFiles]:
    troubles: list[str] = []
    with ExitStack() as stack:
        with real_disk():
            mount = stack.enter_context(FuseMount(machine.live, directory, host_files=True, troubles=troubles.append))
            # A path that is made here is pathlib's own, and means the real disk for good.
            files = LiveFiles(machine, Path(mount.directory))
        # Entered last and left first: what is unmounted is unmounted on the real disk.
        stack.enter_context(machine.watched(mount.call_in))
        stack.enter_context(Punctual(machine.live, machine.held))
        try:
            yield files
        finally:
            with real_disk():
                stack.close()
    if troubles:
        raise RuntimeError(troubles[0])


def _make(
    machine: str | os.PathLike[str] | Profile | None,
    kernel: str | None,
    plan: LoadPlan | None,
    scenario: str | os.PathLike[str] | Scenario | None,
    at_s: Seconds | None,
    near_wrap_s: Seconds | None,
) -> FakeMachine:
    story = scenario if scenario is None or isinstance(scenario, Scenario) else Scenario.load(scenario)
    if machine is None:
        machine = DEFAULT_MACHINE if story is None else story.profile
    profile = machine if isinstance(machine, Profile) else load_profile(machine)
    begun_s = None if at_s is None else read_seconds(at_s, "at_s")
    wrap_s = None if near_wrap_s is None else read_seconds(near_wrap_s, "near_wrap_s")
    if wrap_s == 0:
        raise ValueError("near_wrap_s is 0: counters wrap after some time, say how many seconds")
    if story is not None:
        kernel = kernel or story.kernel
        plan = plan or story.load_plan
        begun_s = story.at_s if begun_s is None else begun_s
        wrap_s = story.near_wrap_s if wrap_s is None else wrap_s
        story.rehearse(profile, kernel, plan)
    ran_s: Fraction | int = begun_s or 0
    made = FakeMachine(profile, kernel, load=plan, scenario=story, at_s=ran_s)
    if wrap_s is not None:
        wind(made, wrap_s, load=plan, at_s=ran_s, scenario=story)
    return made


def _the_machine(machine: MachineSource, options: MachineOptions) -> FakeMachine:
    if not isinstance(machine, FakeMachine):
        return fake_machine(machine, **options)
    if options:
        raise TypeError(f"{next(iter(options))} is given beside a machine that is there: give it to fake_machine()")
    return machine


def _read_load(load: str | Mapping[str, object] | None) -> LoadPlan | None:
    if isinstance(load, Mapping):
        load = ",".join(f"{name}={watts}" for name, watts in load.items())
    return None if load is None else read_load(load)
