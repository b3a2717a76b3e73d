# SPDX-License-Identifier: Apache-2.0
"""A machine that is shown for weeks: however often things come and go in it, there are no more objects than before."""

import gc
import os
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from errno import ENODEV, ENXIO
from pathlib import Path

import pytest

from raplica_simulator import Machine
from raplica_simulator.control.client import ask
from raplica_simulator.control.door import Control
from raplica_simulator.control.server import ControlDoor
from raplica_simulator.live.machine import LiveMachine, start
from raplica_simulator.live.read_log import ReadLog
from raplica_simulator.surfaces import fuse_log
from raplica_simulator.surfaces.fuse import FuseMount

ENERGY = "sys/class/powercap/intel-rapl:0/energy_uj"
_FORGETS_S = 60
Mount = Callable[..., FuseMount]


def ours() -> Counter[str]:
    """The objects of the simulator that there are, by their types."""
    gc.collect()
    types = (type(one) for one in gc.get_objects())
    return Counter(f"{one.__module__}.{one.__qualname__}" for one in types if one.__module__.startswith("raplica_"))


@pytest.mark.parametrize(("profile", "kernel"), [("sandybridge", "3.13"), ("skylake-sp-2s", "6.12")])
def test_drivers_processors_masks_and_resets_leave_no_object_of_theirs(profile: str, kernel: str) -> None:
    machine = Machine.from_profile(profile, kernel=kernel)
    others = range(1, len(machine.profile.topology.cpus))

    def everything() -> None:
        machine.driver.unload()
        machine.driver.load()
        machine.clock.advance(seconds=1)  # the first driver sleeps while it detects
        for number in reversed(others):
            machine.cpu(number).offline()
        for number in others:
            machine.cpu(number).online()
        machine.suspend()
        machine.resume()
        machine.reset()
        machine.clock.advance(seconds=1)
        machine.sysfs.mask("devices/virtual/powercap")
        machine.sysfs.unmask("devices/virtual/powercap")
        machine.sysfs.inject("class/powercap/intel-rapl:0/energy_uj", "read", ENODEV, 0, 1)
        for _ in range(2):
            machine.load.set(package=100)
            machine.clock.advance(seconds=7)
            machine.load.set(package=20)
        machine.sysfs.inject("class/powercap/intel-rapl:0/energy_uj", "read", None)

    everything()
    before = ours()
    for _ in range(3):
        everything()
    assert ours() == before


def test_a_mount_forgets_what_goes_while_it_is_read_and_written_down(
    mount: Mount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fuse_log, "_PLACES_KEPT", 5)
    live = start("kabylake")
    live.log = ReadLog(10)
    live.log.switch(on=True)
    shown = mount(live, host_files=True)
    root = Path(shown.directory)
    zones = root / "sys/devices/virtual/powercap"

    def everything() -> None:
        for folder, _, names in os.walk(zones):
            for name in names:
                with suppress(OSError):
                    Path(folder, name).read_bytes()
        held = [os.open(root / place, os.O_RDONLY) for place in (ENERGY, "dev/cpu/3/msr")]
        with shown.held() as machine:
            machine.driver.unload()
            machine.cpu(3).offline()
        for file, errno in zip(held, (ENODEV, ENXIO), strict=True):
            with pytest.raises(OSError, match="No such device") as gone:
                os.pread(file, 8, 0)
            assert gone.value.errno == errno
            os.close(file)
        with shown.held() as machine:
            machine.cpu(3).online()
            machine.driver.load()
            machine.sysfs.mask("devices/virtual/powercap")
        with shown.held() as machine:
            machine.sysfs.unmask("devices/virtual/powercap")

    def left() -> Counter[str]:
        # Whatever was last written down.
        live.log.clear()
        shown._server._log._places.clear()
        return ours()

    everything()
    everything()
    # The kernel says when it has forgotten a name, and takes its time.
    until_s = time.monotonic() + _FORGETS_S
    while any(not entry.alive for entry in shown._server._tree.handed_out()):
        assert time.monotonic() < until_s
        time.sleep(0.01)
    first = left()
    for _ in range(3):
        everything()
        assert 1 <= len(shown._server._log._places) <= 5
    until_s = time.monotonic() + _FORGETS_S
    # Less may be left: it may forget what still lives, too.
    while (grown := left() - first) and time.monotonic() < until_s:
        time.sleep(0.01)
    assert not grown
    assert shown._server.answers.handles == {}


def test_orders_at_a_control_door_leave_no_object_of_theirs(tmp_path: Path) -> None:
    live = LiveMachine(Machine.from_profile("kabylake"))
    path = "class/powercap/intel-rapl:0/energy_uj"
    orders: list[tuple[str, dict[str, object]]] = [
        ("unload-driver", {}),
        ("load-driver", {}),
        ("fault", {"path": path, "errno": "EIO"}),
        ("heal", {"path": path}),
        ("load", {"package": 30}),
        ("advance", {"seconds": 1}),
        ("wrap", {"domain": "package-0", "in_s": 1}),
        ("stop-counter", {"domain": "package-0"}),
        ("start-counter", {"domain": "package-0"}),
        ("offline", {"cpu": 3}),
        ("online", {"cpu": 3}),
        *(
            (verb, {})
            for verb in ("mask", "unmask", "msr-device", "reset", "log-on", "truth", "zones", "log", "status")
        ),
    ]
    with ControlDoor(Control(live), tmp_path / "door") as door:

        def everything() -> None:
            for verb, words in orders:
                ask(door.path, verb, words)
            # A client's thread ends a little after its client.
            while door._clients:
                time.sleep(0.001)

        everything()
        before = ours()
        for _ in range(3):
            everything()
        assert ours() == before
