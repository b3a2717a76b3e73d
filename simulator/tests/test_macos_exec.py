# SPDX-License-Identifier: Apache-2.0
"""`raplica exec --as macos`: what a command finds on a machine that is a Mac, and what is refused."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from raplica_fixtures import mac_path
from raplica_simulator.cli import main
from raplica_simulator.exec.as_macos import PROGRAMS, environment, own_door
from raplica_simulator.live.machine import start
from raplica_simulator.macos.dates import FIRST_BOOT_NS
from raplica_simulator.macos.mac import Mac
from raplica_simulator.macos.mac_files import intel_mac

ROOM = Path(__file__).with_name("room.py")
SUDO = str(PROGRAMS / "sudo")
Run = Callable[..., "subprocess.CompletedProcess[str]"]

# What runs tests may have threads of its own; the child becomes another program at once.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

LOOK = """
import json, os, shutil, stat, subprocess
print(json.dumps({
    "zones": os.listdir("/sys/class/powercap"),
    "devices": os.listdir("/dev/cpu"),
    "door": stat.S_ISSOCK(os.stat(os.environ["RAPLICA_CONTROL"]).st_mode),
    "tool": shutil.which("powermetrics"),
    "said": subprocess.run(
        ["sudo", "-n", "powermetrics", "-i", "1", "-n", "1"], check=True, capture_output=True, text=True
    ).stdout,
}))
"""


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Run the command `raplica` in this process."""

    def call(*words: str) -> "subprocess.CompletedProcess[str]":
        with pytest.raises(SystemExit) as ended:
            main(["exec", *words])
        told = capfd.readouterr()
        assert isinstance(ended.value.code, int)
        return subprocess.CompletedProcess(words, ended.value.code, told.out, told.err)

    return call


@pytest.mark.usefixtures("places")
def test_a_command_finds_the_tools_of_macos_and_nothing_of_linux(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    done = run("macbookpro-2015", "--as", "macos", "--", sys.executable, "-c", LOOK)
    assert (done.returncode, done.stderr) == (0, "")
    seen = json.loads(done.stdout)
    assert (seen["zones"], seen["devices"], seen["door"]) == ([], [], True)
    assert seen["tool"] == str(PROGRAMS / "powermetrics")
    assert "Machine model: MacBookPro11,4\n" in seen["said"]
    assert "(CPUs+GT+SA): 12.40W\n" in seen["said"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("places")
def test_any_intel_machine_can_be_shown_so_and_a_named_door_stays_where_it_was_put(run: Run, tmp_path: Path) -> None:
    door = tmp_path / "door"
    script = 'test "$RAPLICA_CONTROL" = "$0" && powermetrics -i 1 -n 1 | sed -n "s/.*SA): //p"'
    words = ("--load", "package=23", "--control", str(door), "--", "sh", "-c", script, str(door))
    done = run("kabylake", "--as", "macos", *words)
    assert (done.returncode, done.stdout, done.stderr) == (0, "23.00W\n", "")


@pytest.mark.usefixtures("places")
def test_the_reader_reads_it_in_the_shares_of_the_truth(run: Run) -> None:
    words = ["read", "--source", "powermetrics", "--interval", "0.05", "--count", "2", "--json"]
    done = run("mac-m2pro", "--as", "macos", "--", sys.executable, "-m", "raplica_reader", *words)
    assert done.returncode == 0
    document = json.loads(done.stdout)
    # 9 W, 3 W and 0.4 W, in whole millijoules: three clusters are cut downward each.
    cpu, gpu, ane = (zone["energy_uj"] for zone in document["zones"])
    assert gpu > 0
    assert abs(cpu - 3 * gpu) <= 3 * 1000 + 3 * 1000
    assert abs(ane - gpu * 2 / 15) <= 2 * 1000
    assert document["total"]["energy_uj"] == cpu + gpu + ane


@pytest.mark.usefixtures("places", "rooms")
def test_who_is_not_root_is_refused_by_powermetrics_and_by_sudo(tmp_path: Path) -> None:
    script = "powermetrics -n 1; echo $?; sudo powermetrics -n 1; echo $?"
    room = [sys.executable, str(ROOM), "nobody,open-device", str(tmp_path), sys.executable, "-m", "raplica_simulator"]
    done = subprocess.run(
        [*room, "exec", "macbook-m1", "--as", "macos", "--unprivileged", "--", "sh", "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "powermetrics must be invoked as the superuser\n1\n1\n"
    assert done.stderr == "sudo: a password is required\n"
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("macbook-m1",), "macbook-m1 is a Mac: say --as macos"),
        (("zen4", "--as", "macos"), "no Mac has a processor of AuthenticAMD"),
        (("kabylake", "--as", "macos", "--perf-files"), "--perf-files are of Linux"),
        (("macbook-m9", "--as", "macos"), "macbook-m9: unknown machine"),
        (("kabylake", "--as", "windows"), "'windows' is not one of 'linux', 'macos'"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line_before_anything_runs(
    run: Run, words: tuple[str, ...], said: str
) -> None:
    done = run(*words, "--", "echo", "started")
    assert (done.returncode, done.stdout) == (125, "")
    assert said in done.stderr.splitlines()[-1]


def test_a_mac_of_ones_own_is_known_as_one(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_bytes(mac_path("mac-m2pro").read_bytes())
    done = run(str(file), "--", "echo", "started")
    assert (done.returncode, done.stdout) == (125, "")
    assert f"{file} is a Mac: say --as macos" in done.stderr


def test_dates_are_the_hosts_where_time_runs_and_else_always_the_same() -> None:
    live = start("kabylake", at_s=100)
    mac = intel_mac(live.machine.profile)
    still = environment(mac, live, "door", None, runs=False)
    assert still["RAPLICA_MAC_BOOT_NS"] == str(FIRST_BOOT_NS)
    assert still["PATH"].split(os.pathsep)[0] == str(PROGRAMS)
    assert "/usr/bin" in still["PATH"].split(os.pathsep)
    assert Mac.from_json(still["RAPLICA_MAC"]) == mac
    running = environment(mac, live, "door", "/bin", runs=True)
    assert running["PATH"] == f"{PROGRAMS}{os.pathsep}/bin"
    assert int(running["RAPLICA_MAC_BOOT_NS"]) > FIRST_BOOT_NS


def test_a_door_of_its_own_is_gone_afterwards() -> None:
    with own_door() as path:
        folder = Path(path).parent
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not folder.exists()


def test_a_door_whose_process_was_killed_goes_with_the_next_one_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    abandoned, begun, not_ours = (tmp_path / f"raplica-door-{name}" for name in ("abandoned", "begun", "not-ours"))
    abandoned.mkdir()
    begun.mkdir()  # not held yet, and so without a door
    (tmp_path / "plain").touch()
    not_ours.symlink_to(tmp_path / "plain")
    with own_door() as first:
        Path(first).touch()
        (abandoned / "door").touch()
        with own_door() as second:
            assert Path(first).exists()
            assert not abandoned.exists()
            assert Path(second).parent.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plain", "raplica-door-begun", "raplica-door-not-ours"]


# The stand-in of sudo.


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gets anything from it")
@pytest.mark.parametrize(
    ("words", "out"),
    [
        (["echo", "-n", "a b"], "a b"),
        (["-n", "echo", "x"], "x\n"),
        (["-S", "-p", "", "-u", "root", "--", "echo", "x"], "x\n"),
        (["NAME=a b", "sh", "-c", 'echo "$NAME"'], "a b\n"),
        (["-n", "-v"], ""),
    ],
)
def test_root_gets_the_command_with_its_words_as_they_are(words: list[str], out: str) -> None:
    done = subprocess.run([SUDO, *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, out, "")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root comes so far")
@pytest.mark.parametrize("words", [[], ["-n"], ["-u"], ["--"]])
def test_without_a_command_it_says_how_it_is_used(words: list[str]) -> None:
    done = subprocess.run([SUDO, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("usage: sudo")
