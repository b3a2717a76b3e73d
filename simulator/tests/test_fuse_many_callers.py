# SPDX-License-Identifier: Apache-2.0
"""Many processes on one mount, whose driver goes and comes or which ends, and none of them hangs."""

import os
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from errno import ECONNABORTED, ENOTCONN
from pathlib import Path
from signal import SIGKILL, SIGTERM
from threading import Thread

import pytest

from raplica_simulator import Machine
from raplica_simulator.live.machine import LiveMachine
from raplica_simulator.surfaces.fuse import FuseMount

from .odd_caller import ACCESS, CLASS, MACHINE, MORE_FLAGS, NOT_BACK_S, ON_ATTRIBUTE, PLACES, TEXTS, ZONE, Caller, shown

pytestmark = [
    pytest.mark.usefixtures("mounts"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root is refused nothing but what the file itself refuses"),
]


def any_call(chance: random.Random, opened: list[int]) -> list[object]:
    """One call of any kind, on a path or on something opened before, with whatever arguments."""
    path = chance.choice([*PLACES, "../dev/cpu/0/msr", "../dev/cpu", "../.."])
    size, offset = chance.choice([0, 1, 8, 4096, 1 << 20]), chance.choice([0, 1, 0x611, 4096, 1 << 40])
    on_path: list[list[object]] = [
        ["open", path, chance.choice(ACCESS) | chance.choice(MORE_FLAGS)],
        ["truncate", path, offset],
        ["chmod", path, chance.choice([0o400, 0o644])],
    ]
    on_path += [[name, path] for name in (*ON_ATTRIBUTE, "list", "lstat", "readlink")]
    if path.endswith(("/..", "../dev/cpu")) or not opened or chance.random() < 0.4:
        # Not above the mount: that is the host's.
        return chance.choice(on_path) if not path.endswith("/..") else ["lstat", path]
    file = chance.choice(opened)
    on_file: list[list[object]] = [
        ["pread", file, size, offset],
        ["read", file, size],
        ["readv", file, 1, size],
        ["pwrite", file, chance.choice(TEXTS).hex(), offset],
        ["lseek", file, offset, chance.randrange(6)],
        ["ftruncate", file, offset],
        ["ioctl", file, chance.choice([0x5401, 0x541B, 0x80086601])],
    ]
    on_file += [[name, file] for name in ("fstat", "poll", "fsync", "listdir", "mmap", "close")]
    return chance.choice(on_file)


def test_many_who_call_at_random_while_the_driver_goes_and_comes_hang_nobody() -> None:
    machine = Machine.from_profile(MACHINE)

    def call_much(seed: int, root: str) -> int:
        chance, opened = random.Random(seed), list[int]()  # noqa: S311 - the same calls at each run
        with closing(Caller(root)) as caller:
            for _ in range(150):
                name, where, *more = any_call(chance, opened)
                assert isinstance(where, str | int)
                got = caller.call(str(name), where, *more)
                if name == "open" and isinstance(got, int):
                    opened.append(got)
                elif name == "close":
                    opened.remove(int(where))
        return seed

    with shown(machine) as (mount, troubles), ThreadPoolExecutor(4) as callers:
        running = [callers.submit(call_much, seed, f"{mount.directory}/sys") for seed in range(4)]
        while not all(one.done() for one in running):
            for change in (machine.driver.unload, machine.driver.load):
                with mount.held():
                    change()
                time.sleep(0.005)
        assert [one.result() for one in running] == [0, 1, 2, 3]
        with closing(Caller(f"{mount.directory}/sys")) as caller:
            assert caller.call("list", CLASS) == machine.sysfs.listdir(CLASS)
            text = Machine.from_profile(MACHINE).sysfs.read(f"{ZONE}/name")
            assert caller.call("read", caller.call("open", f"{ZONE}/name", os.O_RDONLY), 100) == text.hex()
        assert troubles == []


def test_a_mount_that_many_keep_reading_ends_all_the_same(tmp_path: Path) -> None:
    program = (
        "import os, sys\n"
        "file = os.open(sys.argv[1], os.O_RDONLY)\n"
        "print(flush=True)\n"
        "try:\n"
        "    while os.pread(file, 100, 0): pass\n"
        "except OSError as error:\n"
        "    print(error.errno, flush=True)\n"
        "os._exit(0)\n"  # what is open there can no longer be closed in peace
    )
    with ExitStack() as stack:
        mount = FuseMount(LiveMachine(Machine.from_profile(MACHINE)), tmp_path / "m")
        stack.callback(mount.close)
        command = [sys.executable, "-I", "-S", "-c", program, f"{mount.directory}/sys/{ZONE}/energy_uj"]
        readers = [stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True)) for _ in range(4)]
        for reader in readers:
            assert reader.stdout is not None
            reader.stdout.readline()
        ending = Thread(target=mount.close, daemon=True)
        ending.start()
        ending.join(NOT_BACK_S)
        ended = not ending.is_alive()
        if not ended:
            for reader in readers:
                reader.kill()
        assert ended
        said = {int(reader.communicate(timeout=NOT_BACK_S)[0]) for reader in readers}
        assert said <= {ENOTCONN, ECONNABORTED}


def test_callers_who_are_killed_in_the_middle_of_a_call_leave_nothing_open() -> None:
    program = "import os, sys; os.write(1, b'.'); os.pread(os.open(sys.argv[1], os.O_RDONLY), 100, 0)"
    with shown(Machine.from_profile(MACHINE)) as (mount, troubles), ExitStack() as stack:
        path = f"{mount.directory}/sys/{ZONE}/energy_uj"
        # Nobody is answered meanwhile, and who has been heard already waits for that.
        with mount.held():
            command = [sys.executable, "-I", "-S", "-c", program, path]
            callers = [
                stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True)) for _ in range(4)
            ]
            for caller, ending in zip(callers, [SIGKILL, SIGKILL, SIGTERM, SIGKILL], strict=True):
                assert caller.stdout is not None
                assert caller.stdout.read(1) == "."
                caller.send_signal(ending)
        assert {caller.wait(NOT_BACK_S) for caller in callers} == {-SIGKILL, -SIGTERM}
        assert Path(path).read_text().strip().isdecimal()
        answers = mount._server.answers
        for _ in range(NOT_BACK_S * 100):
            if not answers.handles:
                break
            time.sleep(0.01)
        assert answers.handles == {}
        assert troubles == []


def test_hundreds_of_open_files_and_folders_are_all_closed_again() -> None:
    with shown(Machine.from_profile(MACHINE)) as (mount, troubles), ExitStack() as stack:
        handles = mount._server.answers.handles
        for number in range(500):
            path = f"{mount.directory}/sys/{ZONE}" + ("/energy_uj" if number % 2 else "")
            descriptor = os.open(path, os.O_RDONLY)
            stack.callback(os.close, descriptor)
            assert os.pread(descriptor, 100, 0) if number % 2 else os.listdir(descriptor)  # noqa: PTH208
        assert len(handles) == 500
        stack.close()
        for _ in range(NOT_BACK_S * 100):
            if not handles:
                break
            time.sleep(0.01)
        assert handles == {}
        assert troubles == []
