# SPDX-License-Identifier: Apache-2.0
"""Odd machines for the tests: a profile written down in a line or two, and the machine that it makes."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from raplica_simulator import Machine
from raplica_simulator.faults.verbs import read_event
from raplica_simulator.linux.msr_dev import MsrModule
from raplica_simulator.live.machine import LiveMachine
from raplica_simulator.serve.windows_door import WindowsDoor
from raplica_simulator.surfaces.fuse import FuseMount
from raplica_simulator.surfaces.fuse_mounting import obstacle
from raplica_simulator.windows.service_control import ServiceCalls
from raplica_simulator.windows.system import WindowsSystem
from raplica_simulator.windows.win32_calls import Win32Calls

# A client part as the register table of a kernel witness shows it: five domains, nothing locked.
CLIENT = {
    0x606: 0xA0E03,
    0x610: 0x00428440001B83E8,
    0x611: 0x12345678,
    0x613: 0,
    0x614: 0x00000000000003E8,
    0x618: 0,
    0x619: 0x00ABCDEF,
    0x61B: 0,
    0x638: 0,
    0x639: 0x00234567,
    0x63A: 0,
    0x640: 0,
    0x641: 0x00034567,
    0x642: 0,
    0x64D: 0x00456789,
    0x65C: 0x0000000000DC8078,
}
SERVER = {
    0x606: 0xA0E03,
    0x610: 0x000184B0001183E8,
    0x611: 0x40001111,
    0x613: 0,
    0x614: 0x000F0CE803980528,
    0x618: 0x0000000000108444,
    0x619: 0x20000777,
    0x61B: 0,
    0x61C: 0x00280444009C01F8,
}
ATOM = {0x606: 0x505, 0x610: 0x00000000000280EA, 0x611: 0x00112233, 0x639: 0x00010203}
AMD = {0xC0010299: 0xA1003, 0xC001029A: 0x00765432, 0xC001029B: 0x12345678}

# CPU (vendor:family:model) and registers by a short name.
KINDS: dict[str, tuple[str, Mapping[int, int]]] = {
    "kabylake": ("GenuineIntel:6:0x9E", CLIENT),
    "alderlake": ("GenuineIntel:6:0x9A", CLIENT | {0x601: 0x3F0}),
    "skylake-sp": ("GenuineIntel:6:0x55", SERVER),
    "sapphirerapids": ("GenuineIntel:6:0x8F", SERVER | {0x64D: 0x00000321, 0x65C: 0}),
    "baytrail": ("GenuineIntel:6:0x37", ATOM),
    "zen3": ("AuthenticAMD:25:1", AMD),
}


@pytest.fixture(scope="session")
def make_machine(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Machine]:
    """Make machines out of profiles written for the test.

    ``make_machine("kabylake", kernel="6.12", registers={0x641: None}, where={"package.1": {0x611: 0}})``: the kind's
    registers, with some replaced or (None) left out, and what differs somewhere.  ``rules`` is "table" unless it
    says "silicon"; ``cpu`` replaces the kind's VENDOR:FAMILY:MODEL; ``more`` is TOML that is put behind.
    """
    folder = tmp_path_factory.mktemp("profiles")
    numbers = count()

    def make(
        kind: str = "kabylake",
        kernel: str | None = None,
        *,
        registers: Mapping[int, int | None] | None = None,
        where: Mapping[str, Mapping[int, int]] | None = None,
        cpu: str | None = None,
        topology: tuple[int, int, int, int] = (1, 1, 2, 1),
        rules: str = "table",
        flags: tuple[str, ...] = (),
        more: str = "",
    ) -> Machine:
        named, table = KINDS[kind]
        vendor, family, model = (cpu or named).split(":")
        words = {address: raw for address, raw in {**table, **(registers or {})}.items() if raw is not None}
        packages, dies, cores, threads = topology
        text = [
            f'rules = "{rules}"',
            "[cpu]",
            f'vendor = "{vendor}"',
            f"family = {int(family, 0)}",
            f"model = {int(model, 0)}",
            f"flags = {list(flags)}",
            "[topology]",
            f"packages = {packages}",
            f"dies_per_package = {dies}",
            f"cores_per_die = {cores}",
            f"threads_per_core = {threads}",
            "[registers]",
            *_lines(words),
        ]
        for place, values in (where or {}).items():
            text += [f"[registers.{place}]", *_lines(values)]
        path = Path(folder) / f"machine-{next(numbers)}.toml"
        path.write_text("\n".join([*text, more]) + "\n")
        return Machine.from_profile(path, kernel=kernel)

    return make


@pytest.fixture
def module(machine: Machine) -> MsrModule:
    """The ``/dev/cpu/N/msr`` of the test's ``machine``."""
    return MsrModule(machine)


@pytest.fixture
def happen(machine: Machine, module: MsrModule) -> Callable[..., None]:
    """Check an event and do it to the test's ``machine``: ``happen("offline", package=1)``."""

    def let(do: str, **words: Any) -> None:
        event = read_event({"do": do, **words})
        event.check(machine)
        event.do(machine, module)

    return let


@pytest.fixture
def system() -> WindowsSystem:
    """A Windows of the test's own without any driver."""
    return WindowsSystem(Machine.from_profile("kabylake"))


@pytest.fixture
def services(system: WindowsSystem) -> ServiceCalls:
    """The calls about services of a process on the test's ``system``, as an administrator."""
    return system.process().services


@pytest.fixture
def process(system: WindowsSystem) -> Win32Calls:
    """A process on the test's ``system``, as an administrator."""
    return system.process()


@pytest.fixture
def door(system: WindowsSystem, tmp_path: Path) -> Iterator[WindowsDoor]:
    """The test's ``system`` behind a socket, until the test ends."""
    with WindowsDoor(system, tmp_path / "door") as opened:
        yield opened


@pytest.fixture(scope="session")
def mounts() -> None:
    """Skip where nothing can be mounted, saying why; RAPLICA_FUSE=required makes that a failure."""
    reason = obstacle()
    if reason is not None and os.environ.get("RAPLICA_FUSE") == "required":
        pytest.fail(f"RAPLICA_FUSE=required, and nothing can be mounted here: {reason}")
    elif reason is not None:
        pytest.skip(f"nothing can be mounted here: {reason}")


@pytest.fixture(scope="session")
def places() -> None:
    """Skip where no machine can be put into place, saying why; RAPLICA_FUSE=required makes that a failure."""
    # In a process of its own, since this one may have threads.
    program = "from raplica_simulator.surfaces.namespace import obstacle; print(obstacle() or '', end='')"
    reason = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    if reason and os.environ.get("RAPLICA_FUSE") == "required":
        pytest.fail(f"RAPLICA_FUSE=required, and no machine can be put into place here: {reason}")
    elif reason:
        pytest.skip(f"no machine can be put into place here: {reason}")


@pytest.fixture(scope="session")
def rooms() -> None:
    """Skip for who may not make the systems of room.py.

    Root of a container may not mount, or make devices: CAP_SYS_ADMIN and CAP_MKNOD.
    """
    needed = 1 << 21 | 1 << 27
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    if os.geteuid() != 0 or int(status["CapEff"], 16) & needed != needed:
        pytest.skip("only root can make such a system")


@pytest.fixture
def mount(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., FuseMount]]:
    """Show a machine in a folder of the test's own, until the test ends: ``mount(machine)``."""
    request.getfixturevalue("mounts")
    troubles: list[str] = []
    with ExitStack() as stack:

        def show(machine: Machine | LiveMachine, **options: bool) -> FuseMount:
            live = machine if isinstance(machine, LiveMachine) else LiveMachine(machine)
            place = tmp_path / f"mount-{len(list(tmp_path.iterdir()))}"
            return stack.enter_context(FuseMount(live, place, troubles=troubles.append, **options))

        yield show
    assert troubles == []


def _lines(values: Mapping[int, int]) -> list[str]:
    # As text: TOML's own integers end at bit 62.
    return [f'{address:#x} = "{raw:#x}"' for address, raw in values.items()]
