# SPDX-License-Identifier: Apache-2.0
"""`raplica generate` from outside: moments, formats, refusals, and what is left when it is stopped."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import tarfile
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_simulator import Machine, MonotonicClock, VirtualClock
from raplica_simulator.cli import main
from raplica_simulator.generate import _decimal
from raplica_simulator.generate import generate as write_out
from raplica_simulator.live.options import read_seconds
from raplica_simulator.surfaces import write_tree

# A whole suite or tree each time: the quick set of the other Pythons leaves them out.
pytestmark = pytest.mark.slow

ENERGY = "class/powercap/intel-rapl:0/energy_uj"
RECORDINGS = Path(__file__).resolve().parents[2] / "fixtures" / "recordings"

#: `raplica` that gets a signal when it makes its third link, and another one while it cleans up.
STOPPED = """
import os, signal, sys
import raplica_simulator.surfaces.target as target
from raplica_simulator.cli import main
number = int(sys.argv.pop(1))
links, symlink, remove = [], os.symlink, target._remove
def stop(*arguments, **named):
    symlink(*arguments, **named)
    links.append(1)
    if len(links) == 3:
        os.kill(os.getpid(), number)
def remove_slowly(*arguments):
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGTERM)
    remove(*arguments)
os.symlink, target._remove = stop, remove_slowly
main()
"""


def generate(*arguments: str | Path, **options: object) -> subprocess.CompletedProcess[bytes]:
    """Run the command in a process of its own."""
    done: subprocess.CompletedProcess[bytes] = subprocess.run(
        [sys.executable, "-m", "raplica_simulator", "generate", *map(str, arguments)],
        check=False,
        **{"capture_output": True, "stdin": subprocess.DEVNULL, **options},  # type: ignore[call-overload]
    )
    return done


def files(root: Path) -> dict[str, bytes]:
    """Every plain file below a folder, links not followed."""
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def one_line(done: subprocess.CompletedProcess[bytes]) -> str:
    """What an error says: one line on stderr, nothing on stdout, no traceback."""
    assert done.stdout == b""
    said = done.stderr.decode()
    assert said.count("\n") == 1, said
    assert said.startswith("raplica")
    return said


def test_the_tree_on_disk_is_the_machines_at_the_asked_moment(tmp_path: Path) -> None:
    out = tmp_path / "sys"
    done = generate("skylake-sp-2s", out, "--at", "12.5", "--kernel", "6.1")
    assert (done.returncode, done.stdout) == (0, b"")
    clock = VirtualClock()
    machine = Machine.from_profile("skylake-sp-2s", kernel="6.1", clock=clock)
    clock.advance(seconds=Decimal("12.5"))
    write_tree(machine, tmp_path / "same")
    assert files(out) == files(tmp_path / "same")
    assert (out / ENERGY).read_bytes() == machine.sysfs.read(ENERGY)


def test_one_line_on_stderr_counts_what_could_not_be_read(tmp_path: Path) -> None:
    done = generate("kabylake", tmp_path / "sys")
    said = done.stderr.decode()
    assert said.count("\n") == 1
    empty = [path for path, content in files(tmp_path / "sys").items() if not content and "uevent" not in path]
    devices = {path for path in empty if path.startswith("devices")}
    found = re.search(r"(\d+) attributes, of which (\d+) could not be read and are empty", said)
    assert found is not None
    assert int(found[2]) == len(devices)
    assert "autosuspend_delay_ms EIO" in said
    assert "ENODATA" in said
    assert "snapshot" in said


def test_a_machine_without_zones_is_written_and_said_to_have_none(tmp_path: Path) -> None:
    profile = tmp_path / "mine.toml"
    profile.write_text('[cpu]\nvendor = "GenuineIntel"\nfamily = 6\nmodel = 85\n[topology]\npackages = 1\n')
    done = generate(profile, tmp_path / "sys")
    assert done.returncode == 0
    assert done.stderr.decode().count("\n") == 1
    assert b"class/powercap is empty" in done.stderr
    assert list((tmp_path / "sys" / "class" / "powercap").iterdir()) == []
    assert not (tmp_path / "sys" / "devices" / "virtual" / "powercap").exists()


def test_a_recording_can_be_written_out(tmp_path: Path) -> None:
    done = generate(RECORDINGS / "kbl_client-6.12.json.xz", tmp_path / "sys")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "sys" / "class/powercap/intel-rapl:0/name").read_text() == "package-0\n"


def test_tar_goes_to_a_file_or_to_stdout_with_the_same_bytes(tmp_path: Path) -> None:
    assert generate("zen4", tmp_path / "machine.tar", "--format", "tar", "--at", "7").returncode == 0
    piped = generate("zen4", "-", "--format", "tar", "--at", "7")
    assert piped.returncode == 0
    assert piped.stdout == (tmp_path / "machine.tar").read_bytes()
    assert piped.stderr.decode().startswith("raplica: stdout is a snapshot of zen4 at 7 s")
    with tarfile.open(tmp_path / "machine.tar") as archive:
        assert "class/powercap/intel-rapl:0" in archive.getnames()


def test_no_archive_is_written_to_a_terminal() -> None:
    controller, terminal = pty.openpty()
    try:
        done = generate("zen4", "-", "--format", "tar", capture_output=False, stdout=terminal, stderr=subprocess.PIPE)
    finally:
        os.close(controller)
        os.close(terminal)
    assert done.returncode == 2
    assert b"stdout is a terminal: redirect it" in done.stderr


def test_an_archive_that_nobody_reads_is_no_error_to_speak_of() -> None:
    read, write = os.pipe()
    os.close(read)
    done = generate("zen4", "-", "--format", "tar", capture_output=False, stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


def test_an_archive_that_does_not_fit_on_stdout_is_one_line_and_status_1() -> None:
    with Path("/dev/full").open("wb") as full:
        done = generate("zen4", "-", "--format", "tar", capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert done.stderr.decode().count("\n") == 1
    assert b"No space left" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["/"], "nothing is ever written to /"),
        (["/sys"], "nothing is ever written to /sys"),
        (["/sys/class/powercap", "--force"], "nothing is ever written"),
        (["/proc/self", "--force"], "nothing is ever written"),
        (["/dev/shm/sys"], "nothing is ever written"),
        (["link/inside", "--force"], "which is /sys/inside"),
        (["/dev/stdout", "--format", "tar"], "nothing is ever written"),
        (["full"], "full is not empty: name another folder, or say --force"),
        (["full/file"], "not a directory"),
        (["full/file", "--format", "tar"], "exists: name another file, or say --force"),
        (["full", "--format", "tar", "--force"], "is not a file"),
        (["-"], "--format tar"),
        ([""], "no path"),
        (["out", "--format", "cpio"], "cpio"),
        (["out", "--at", "-1"], "--at"),
        (["out", "--at", "1e3"], "'1e3' is no number of seconds"),
        (["out", "--at", "nan"], "'nan'"),
        (["out", "--at", ""], "''"),
        (["out", "--at", "."], "'.'"),
        (["out", "--at", "1.2.3"], "1.2.3"),
        (["out", "--at", "١"], "seconds"),  # noqa: RUF001 - a digit that is not one of ours
        (["out", "--at", "9" * 30], "too late"),
        (["out", "--at", "1." + "0" * 200], "seconds"),
        (["out", "--kernel", "5.4"], "5.4"),
    ],
)
def test_what_is_refused_is_one_line_with_status_2_and_changes_nothing(
    tmp_path: Path,
    arguments: list[str],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("precious")
    (tmp_path / "link").symlink_to("/sys")
    with pytest.raises(SystemExit) as ended:
        main(["generate", "skylake-sp-2s", *arguments])
    assert ended.value.code == 2
    said = capfd.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert said.err.startswith("raplica generate: ")
    assert words in said.err
    assert {path.name for path in tmp_path.iterdir()} == {"full", "link"}
    assert files(tmp_path / "full") == {"file": b"precious"}


@pytest.mark.parametrize("out", ["/", "/sys/class/powercap", "full"])
def test_a_process_that_is_refused_ends_with_2(tmp_path: Path, out: str) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("precious")
    done = generate("skylake-sp-2s", out, cwd=tmp_path)
    assert done.returncode == 2
    assert one_line(done).startswith("raplica generate: ")


def test_force_replaces_and_tells_what_it_left(tmp_path: Path) -> None:
    (tmp_path / "sys").mkdir()
    (tmp_path / "sys" / "mine").write_text("precious")
    done = generate("skylake-sp-2s", tmp_path / "sys", "--force")
    assert done.returncode == 0
    assert (tmp_path / "sys" / "mine").read_text() == "precious"
    assert f"{tmp_path}/sys/mine left as it was" in done.stderr.decode()
    again = generate("kabylake", tmp_path / "sys", "--force")
    assert b"and 2 more left as it was" in again.stderr


def test_a_place_that_cannot_be_written_is_one_line_and_status_1(tmp_path: Path) -> None:
    # Longer than any file system's names: an error for root, too.
    done = generate("skylake-sp-2s", tmp_path / ("x" * 300))
    assert done.returncode == 1
    assert "File name too long" in one_line(done)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 128 + signal.SIGTERM), (signal.SIGHUP, 128 + 1)]
)
@pytest.mark.parametrize("existing", [True, False])
def test_a_signal_leaves_nothing_behind_even_when_more_follow(
    tmp_path: Path, number: signal.Signals, status: int, *, existing: bool
) -> None:
    if existing:
        (tmp_path / "sys").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", STOPPED, str(int(number)), "generate", "skylake-sp-2s", str(tmp_path / "sys")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stderr
    assert done.stderr == ("raplica: interrupted\n" if number == signal.SIGINT else "")
    assert [path for path in tmp_path.rglob("*") if path.name != "sys"] == []


def test_a_signal_that_was_ignored_stays_ignored(tmp_path: Path) -> None:
    program = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n" + STOPPED.replace(
        "stop, remove_slowly", "stop, remove"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(int(signal.SIGHUP)), "generate", "skylake-sp-2s", str(tmp_path / "sys")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "sys" / ENERGY).exists()


def test_the_signals_are_given_back(tmp_path: Path) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    write_out(Machine.from_profile("zen4"), Fraction(0), str(tmp_path / "sys"))
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


def test_a_machine_whose_time_goes_by_itself_cannot_be_brought_to_a_moment(tmp_path: Path) -> None:
    machine = Machine.from_profile("zen4", clock=MonotonicClock())
    with pytest.raises(TypeError, match="VirtualClock"):
        write_out(machine, Fraction(0), str(tmp_path / "sys"))


@given(st.decimals(min_value=0, max_value=10**12, allow_nan=False, allow_infinity=False, places=12))
def test_seconds_are_taken_exactly_and_told_exactly(seconds: Decimal) -> None:
    text = f"{seconds:f}"
    assert read_seconds("--at", text) == Fraction(seconds)
    assert Fraction(_decimal(read_seconds("--at", text))) == Fraction(seconds)


@pytest.mark.parametrize(("text", "seconds"), [("0.1", Fraction(1, 10)), ("5.", Fraction(5)), (".5", Fraction(1, 2))])
def test_a_tenth_of_a_second_is_a_tenth(text: str, seconds: Fraction) -> None:
    assert read_seconds("--at", text) == seconds


def test_json_of_a_generated_tree_and_of_show_agree(tmp_path: Path) -> None:
    generate("apollolake", tmp_path / "sys")
    shown = subprocess.run(
        [sys.executable, "-m", "raplica_simulator", "show", "apollolake", "--json"], capture_output=True, check=True
    )
    for zone in json.loads(shown.stdout)["control_types"][0]["zones"]:
        assert int((tmp_path / "sys" / "class/powercap" / zone["id"] / "energy_uj").read_text()) == zone["energy_uj"]
