# SPDX-License-Identifier: Apache-2.0
"""The command `raplica mount`: ready, signals, what is left when it is killed, and what it says where it cannot."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from raplica_simulator.live.machine import LiveMachine, start
from raplica_simulator.machine import Machine
from raplica_simulator.mount import show
from raplica_simulator.surfaces.fuse import FuseMount

from .mounted import is_mounted, wait_until

ENERGY = "sys/class/powercap/intel-rapl:0/energy_uj"
NAME = "sys/class/powercap/intel-rapl:0/name"
RAPLICA = [sys.executable, "-m", "raplica_simulator", "mount"]
ONLY_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root reads energy and registers, and mounts by itself")


@contextmanager
def running(*arguments: str | Path, stdout: int = subprocess.PIPE) -> Iterator[subprocess.Popen[str]]:
    """The command, once it is ready; whatever is left of it at the end is ended."""
    command = [*RAPLICA, *map(str, arguments)]
    with subprocess.Popen(command, stdout=stdout, stderr=subprocess.PIPE, text=True) as process:
        try:
            if process.stdout is not None:
                assert process.stdout.readline() == "ready\n", process.stderr and process.stderr.read()
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.usefixtures("mounts")
def test_a_signal_unmounts_it_and_leaves_the_folder(tmp_path: Path, number: int) -> None:
    place = tmp_path / "new" / "m"
    with running("skylake-sp-2s", place) as process:
        assert is_mounted(place)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, is_mounted(place)) == (0, "", False)
    assert err == f"raplica: skylake-sp-2s is live in {place}/sys and {place}/dev/cpu until Ctrl-C or SIGTERM\n"
    assert list(place.iterdir()) == []


@pytest.mark.usefixtures("mounts")
def test_a_program_can_do_what_the_command_does(make_machine: Callable[..., Machine], tmp_path: Path) -> None:
    odd = make_machine(more='[[faults.sysfs]]\npath = "class/powercap/none"\non = "read"\nerrno = "EIO"')
    place, told = tmp_path / "m", list[str]()
    before = signal.getsignal(signal.SIGTERM)
    live = start(odd.profile)

    def ready() -> None:
        assert is_mounted(place)
        os.kill(os.getpid(), signal.SIGTERM)

    show(live, str(place), allow_other=False, ready=ready, tell=told.append)
    assert not is_mounted(place)
    assert live.machine.clock.now_ns > 0
    assert told[0].startswith("warning: faults.sysfs: class/powercap/none")
    assert signal.getsignal(signal.SIGTERM) is before


@ONLY_ROOT
@pytest.mark.usefixtures("mounts")
def test_time_runs_and_the_options_count(tmp_path: Path) -> None:
    trace = tmp_path / "load.csv"
    trace.write_text("time_s,package\n0,40\n50,60\n")
    options = ("--load", trace, "--at", "100", "--kernel", "6.1")
    with running("skylake-sp-2s", tmp_path / "m", *options, "--speed", "100") as process:
        before = int((tmp_path / "m" / ENERGY).read_text())
        time.sleep(0.1)
        after = int((tmp_path / "m" / ENERGY).read_text())
        process.terminate()
    start_uj = int(Machine.from_profile("skylake-sp-2s", kernel="6.1").sysfs.read(ENERGY.removeprefix("sys/")))
    # 40 W for 50 s and 60 W for 50 s had gone by, then 60 W of 100 s in one: half a minute to the wrap.
    assert before - start_uj >= 5_000_000_000 * (1 - 1e-5)
    assert after - before >= 60 * 100 * 100_000
    began = time.monotonic()
    with running("skylake-sp-2s", tmp_path / "m", *options, "--start-near-wrap", "100"):
        # 6 kJ below where it wraps, and 60 W since it began.
        shown_uj = int((tmp_path / "m" / ENERGY).read_text())
        most_uj = 256_144_000_000 + 60_000_000 * (time.monotonic() - began)
        assert 256_100_000_000 < shown_uj < most_uj


@ONLY_ROOT
@pytest.mark.usefixtures("mounts")
def test_it_shows_the_msr_devices_and_lets_a_limit_be_written(tmp_path: Path) -> None:
    place = tmp_path / "m"
    with running("skylake-sp-2s", place):
        (place / "sys/class/powercap/intel-rapl:0/constraint_0_power_limit_uw").write_text("90000000")
        with (place / "dev/cpu/0/msr").open("rb", buffering=0) as msr:
            msr.seek(0x610)
            assert int.from_bytes(msr.read(8), "little") & 0x7FFF == 90 * 8


def ignores(pid: int, number: int) -> bool:
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return bool(int(status["SigIgn"], 16) >> (number - 1) & 1)


@pytest.mark.usefixtures("mounts")
def test_nothing_stays_mounted_when_all_are_told_to_end_and_it_is_killed(tmp_path: Path) -> None:
    place = tmp_path / "m"
    with running("skylake-sp-2s", place) as process:
        watch = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text())
        wait_until(lambda: ignores(watch, signal.SIGTERM))
        os.kill(watch, signal.SIGTERM)
        process.kill()
        process.wait()
        wait_until(lambda: not is_mounted(place))
    assert list(place.iterdir()) == []


@pytest.mark.usefixtures("mounts")
def test_nothing_stays_mounted_when_its_whole_group_is_killed(tmp_path: Path) -> None:
    place = tmp_path / "m"
    command = [*RAPLICA, "skylake-sp-2s", str(place)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        os.killpg(process.pid, signal.SIGKILL)
    wait_until(lambda: not is_mounted(place))


@pytest.mark.usefixtures("mounts")
def test_it_ends_when_somebody_else_unmounts_it(tmp_path: Path) -> None:
    place = tmp_path / "m"
    with running("skylake-sp-2s", place) as process:
        if os.geteuid() == 0:
            subprocess.run(["umount", place], check=True)
        else:
            subprocess.run(["fusermount3", "-u", place], check=True)
        assert process.wait(timeout=60) == 0


@pytest.mark.usefixtures("mounts")
def test_it_unmounts_what_somebody_still_uses(tmp_path: Path) -> None:
    place = tmp_path / "m"
    with running("skylake-sp-2s", place) as process:
        descriptor = os.open(place / NAME, os.O_RDONLY)
        process.terminate()
        assert process.wait(timeout=60) == 0
        assert not is_mounted(place)
    with suppress(OSError):  # nobody answers any more, closed it is all the same
        os.close(descriptor)


@pytest.mark.usefixtures("mounts")
def test_who_does_not_wait_for_ready_leaves_no_mount_either(tmp_path: Path) -> None:
    place = tmp_path / "m"
    read, write = os.pipe()
    os.close(read)
    with running("skylake-sp-2s", place, stdout=write) as process:
        os.close(write)
        assert process.wait(timeout=60) == 141
    assert not is_mounted(place)


@pytest.mark.usefixtures("mounts")
def test_no_library_of_the_system_is_needed(tmp_path: Path) -> None:
    with running("skylake-sp-2s", tmp_path / "m") as process:
        assert "libfuse" not in Path(f"/proc/{process.pid}/maps").read_text()


@ONLY_ROOT
@pytest.mark.usefixtures("mounts")
def test_a_path_with_blanks_and_odd_letters_is_mounted_and_unmounted(tmp_path: Path) -> None:
    place = tmp_path / "two words \\ ä"
    with FuseMount(LiveMachine(Machine.from_profile("kabylake")), place):
        assert is_mounted(place)
        assert (place / "sys").is_dir()
    assert not is_mounted(place)
