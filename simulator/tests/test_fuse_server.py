# SPDX-License-Identifier: Apache-2.0
"""How a mount waits for requests, and opens by what a name has led to."""

import os
import threading
import time
from errno import ENOENT

import pytest

from raplica_simulator import Machine
from raplica_simulator.linux.sysfs import Sysfs

from .mounted import ZONE, Mount, at, errno_of

pytestmark = pytest.mark.usefixtures("mounts")

_SLEEPS_S = 60


def answering() -> int:
    """The clock of the processor time that the thread that answers has taken."""
    (ident,) = (thread.ident for thread in threading.enumerate() if thread.name == "raplica-fuse")
    assert ident is not None
    return time.pthread_getcpuclockid(ident)


def test_a_mount_that_nobody_asks_sleeps_until_somebody_does(mount: Mount) -> None:
    shown = mount(Machine.from_profile("kabylake"))
    name = at(shown, f"{ZONE}/name")
    clock = answering()
    for _ in range(3):
        assert name.read_text() == "package-0\n"
        # It looks a few times whether more is asked, and then no more.
        until_s = time.monotonic() + _SLEEPS_S
        taken_ns = -1
        while taken_ns != (taken_ns := time.clock_gettime_ns(clock)):
            assert time.monotonic() < until_s
            time.sleep(0.02)


def test_who_holds_a_folder_below_a_mask_still_opens_what_lies_in_it(mount: Mount) -> None:
    machine = Machine.from_profile("kabylake")
    shown = mount(machine)
    folder = os.open(at(shown, ZONE), os.O_RDONLY | os.O_DIRECTORY)
    with shown.held():
        machine.sysfs.mask("devices/virtual/powercap")
    assert errno_of(os.open, at(shown, f"{ZONE}/name"), os.O_RDONLY) == ENOENT
    name = os.open("name", os.O_RDONLY, dir_fd=folder)
    assert os.read(name, 64) == b"package-0\n"
    for descriptor in (folder, name):
        os.close(descriptor)


def test_a_file_is_opened_without_a_second_walk_to_it(mount: Mount, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = mount(Machine.from_profile("kabylake"))
    name = at(shown, f"{ZONE}/name")
    assert name.read_text() == "package-0\n"
    # A walk would be a mistake, and told as EIO.
    for walk in ("_walk", "_resolve"):
        monkeypatch.setattr(Sysfs, walk, lambda *_, **__: 1 // 0)
    assert name.read_text() == "package-0\n"
