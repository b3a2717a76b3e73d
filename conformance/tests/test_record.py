# SPDX-License-Identifier: Apache-2.0
"""`conformance record`: a machine that shows itself through a mount is, from its recording, the same machine again."""

import errno
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from raplica_conformance import cli_record
from raplica_conformance.cli import main
from raplica_conformance.subject import CannotTell
from raplica_conformance.subjects.recording import RecordedTree
from raplica_fixtures.recording import Entry, Recording, load_recording
from raplica_simulator import Machine
from raplica_simulator.cli import main as raplica
from raplica_simulator.live.machine import LiveMachine
from raplica_simulator.replay.entries import read_entry
from raplica_simulator.surfaces import write_tree
from raplica_simulator.surfaces.fuse import FuseMount
from raplica_simulator.surfaces.fuse_mounting import obstacle

ZONE = "devices/virtual/powercap/intel-rapl/intel-rapl:0"
NOBODY = 65534


def status_of(*arguments: str | Path, program: Callable[[list[str]], Any] = main) -> int:
    with pytest.raises(SystemExit) as ended:
        program([str(argument) for argument in arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A written tree, for what needs no mount."""
    write_tree(Machine.from_profile("skylake-sp-2s"), str(tmp_path / "sys"))
    return tmp_path / "sys"


@pytest.fixture
def shown(tmp_path: Path) -> Iterator[Callable[[Machine], Path]]:
    """Mount a machine; skip where nothing can be mounted. RAPLICA_FUSE=required makes that a failure."""
    if reason := obstacle():
        skip = pytest.fail if os.environ.get("RAPLICA_FUSE") == "required" else pytest.skip
        skip(f"nothing can be mounted here: {reason}")
    with ExitStack() as mounts:

        def show(machine: Machine) -> Path:
            place = tmp_path / "mount"
            mounts.enter_context(FuseMount(LiveMachine(machine), place, host_files=True))
            return place

        yield show


def as_recorded(machine: Machine, paths: list[str]) -> dict[str, Entry]:
    return {path: replace(read_entry(machine.sysfs, path), opens=None) for path in paths}


def without_opens(recording: Recording) -> dict[str, Entry]:
    return {path: replace(entry, opens=None) for path, entry in recording.tree.items()}


@pytest.mark.parametrize("machine_id", ["skylake-sp-2s", "cascadelake-ap-2s", "alderlake-p", "zen2-epyc-2s", "dtpm"])
def test_a_mounted_machine_is_recorded_entry_by_entry_and_comes_back(
    machine_id: str, shown: Callable[[Machine], Path], tmp_path: Path
) -> None:
    machine = Machine.from_profile(machine_id)
    machine.clock.advance(seconds=1234)
    out = tmp_path / "machine.json"
    assert status_of("record", "--sysfs", shown(machine) / "sys", "--kernel", "6.12", "-o", out, "--quiet") == 0
    recording = load_recording(out)
    wanted = as_recorded(machine, list(recording.tree))
    assert without_opens(recording) == wanted
    assert len(wanted) > 40
    again = Machine.from_profile(out)
    assert as_recorded(again, list(wanted)) == wanted
    topology = machine.profile.topology
    assert (again.profile.topology, again.profile.cpu.id) == (topology, machine.profile.cpu.id)
    assert again.profile.cpu.name == machine.profile.cpu.name
    assert out.stat().st_size < 100_000
    if os.geteuid() == 0:
        for die in topology.dies:
            cpu = topology.cpus_of_die(die)[0]
            assert recording.registers.get(die, {}) == {
                address: machine.msr.read(cpu=cpu, register=address) for address in recording.registers.get(die, {})
            }


def test_faults_modes_and_owners_are_recorded_and_come_back(shown: Callable[[Machine], Path], tmp_path: Path) -> None:
    machine = Machine.from_profile("skylake-sp-2s")
    for name, on, number in (
        ("energy_uj", "read", errno.EIO),
        ("constraint_0_max_power_uw", "read", errno.ENODATA),
        ("max_energy_range_uj", "open", errno.EACCES),
    ):
        machine.sysfs.inject(f"{ZONE}/{name}", on=on, errno=number)
    machine.sysfs.chmod(f"{ZONE}:0/energy_uj".replace("intel-rapl:0:0", "intel-rapl:0/intel-rapl:0:0"), 0o444)
    out = tmp_path / "machine.json.xz"
    assert status_of("record", "--sysfs", shown(machine) / "sys", "--kernel", "6.12", "-o", out, "--quiet") == 0
    found = load_recording(out).tree
    read = {name: found[f"{ZONE}/{name}"].read for name in ("energy_uj", "max_energy_range_uj")}
    assert [(one.errno, one.open_errno) for one in read.values() if one] == [
        (errno.EIO, None),
        (None, errno.EACCES),
    ]
    again = Machine.from_profile(out)
    assert as_recorded(again, list(found)) == as_recorded(machine, list(found))


@pytest.mark.slow
def test_inside_raplica_exec_a_machine_records_itself_and_is_taken_wherever_a_machine_is(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], shown: Callable[[Machine], Path]
) -> None:
    del shown  # asked for, because it says where nothing can be mounted
    out = tmp_path / "machine.json"
    own = [sys.executable, "-m", "raplica_conformance", "record", "-o", str(out), "--kernel", "6.12"]
    command = [sys.executable, "-m", "raplica_simulator", "exec", "skylake-sp-2s", "--", *own]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 0, ran.stderr
    assert "Intel(R) Xeon(R) Gold 6148 CPU @ 2.40GHz, 2 packages" in ran.stderr
    recording = load_recording(out)
    assert len(recording.registers) == 2
    assert recording.capture is not None
    assert any("fuse.raplica is mounted" in hint.text for hint in recording.capture.hints)
    there = Machine.from_profile(out)
    assert as_recorded(there, list(recording.tree)) == without_opens(recording)
    assert status_of("run", "--recording", out) == 0
    assert status_of("show", out, program=raplica) == 0
    assert status_of("generate", out, tmp_path / "tree", program=raplica) == 0
    copy = tmp_path / "tree/class/powercap/intel-rapl:1/intel-rapl:1:0/name"
    assert copy.read_bytes() == b"dram\n"
    capfd.readouterr()


@contextmanager
def nobody() -> Iterator[None]:
    """Without root in the body, where this process has it."""
    if os.geteuid() != 0:
        yield
        return
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def test_without_root_what_is_roots_is_recorded_as_refused_and_nothing_is_judged_by_it(
    tree: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out").chmod(0o777)
    closed = [above for above in (tmp_path, *tmp_path.parents) if not above.stat().st_mode & 0o001]
    before = {above: above.stat().st_mode for above in closed}
    for above in closed:
        above.chmod(before[above] | 0o011)
    try:
        with nobody():
            out = tmp_path / "out/machine.json"
            assert status_of("record", "--sysfs", tree, "--kernel", "6.12", "-o", out, "--quiet") == 0
            uid = os.geteuid()
    finally:
        for above in closed:
            above.chmod(before[above])
    recording = load_recording(out)
    assert recording.capture is not None
    assert recording.capture.uid == uid
    assert "what only root may read" in recording.capture.left_out
    if uid != tree.stat().st_uid:
        read = recording.tree[f"{ZONE}/energy_uj"].read
        assert read is not None
        assert read.open_errno == errno.EACCES
        subject = RecordedTree(out)
        with pytest.raises(CannotTell, match=f"only root may read it, and user {uid} recorded it"):
            subject.read(f"{ZONE}/energy_uj")
        assert subject.read(f"{ZONE}/name") == b"package-0\n"


def test_without_powercap_there_is_one_line_and_status_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("record", "--sysfs", tmp_path, "--kernel", "6.12", "-o", tmp_path / "machine.json") == 3
    told = capsys.readouterr().err
    assert told.startswith(f"conformance record: no {tmp_path}/class/powercap here: nothing to record")
    assert told.count("\n") == 1
    assert not (tmp_path / "machine.json").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-o", "machine.txt"], "-o machine.txt: must end in one of .json, .json.gz, .json.xz"),
        (["-o", "no/such/machine.json"], "-o no/such/machine.json: the folder no/such does not exist; make it first"),
        (["--sysfs", "no-such"], "--sysfs no-such: is no directory"),
        (["--dev", "no-such"], "--dev no-such: is no directory"),
        (["--kernel", "newest"], "'newest' is no kernel version; name it with --kernel, like 6.12"),
        (["--load-seconds", "nan"], "--load-seconds nan: is no number of seconds"),
        (["--load-seconds", "-1"], "Invalid value for '--load-seconds'"),
    ],
)
def test_what_cannot_be_recorded_like_that_is_refused_in_one_line(
    arguments: list[str], said: str, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    others = [] if "--sysfs" in arguments else ["--sysfs", str(tree)]
    assert status_of("record", *arguments, *others) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"conformance record: {said}")
    assert told.count("\n") == 1


def test_a_name_that_no_recording_can_hold_ends_in_one_line(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tree / "devices/virtual/powercap/odd\nname").touch()
    assert status_of("record", "--sysfs", tree, "--kernel", "6.12") == 3
    out, told = capsys.readouterr()
    assert out == ""
    assert told.startswith("conformance record: what was seen does not fit a recording: ")
    assert told.count("\n") == 1


def test_without_an_output_the_document_is_on_stdout_and_the_words_are_on_stderr(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of("record", "--sysfs", tree, "--kernel", "6.12.117") == 0
    out, told = capsys.readouterr()
    document = json.loads(out)
    assert (document["format"], document["kernel"], document["kernel_full"]) == (1, "6.12", "6.12.117")
    assert document["capture"]["msr"] == "ENOENT"
    lines = told.splitlines()
    assert lines[0] == "unknown family 0 model 0, 2 packages, recorded from a running system, Linux 6.12.117"
    assert lines[1].startswith("tree: ")
    assert lines[2] == "registers: none (no msr device: modprobe msr)"
    assert lines[-1] == f"stdout: {len(out)} bytes"


def test_a_recording_with_names_lists_them_and_one_without_has_none(
    tree: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_USER", "mildred.hubble")
    (tree / "class/dmi/id").mkdir(parents=True)
    (tree / "class/dmi/id/product_serial").write_text("SN-4711-0815\n")
    (tree / "class/dmi/id/product_name").write_text("Server of mildred.hubble, SN-4711-0815\n")
    assert status_of("record", "--sysfs", tree, "--kernel", "6.12") == 0
    out, told = capsys.readouterr()
    assert "mildred" not in out + told
    assert "4711" not in out + told
    capture = json.loads(out)["capture"]
    assert capture["firmware"] == {"product_name": "Server of (redacted), (redacted)"}
    assert {"host name", "serial numbers and UUIDs"} <= set(capture["left_out"])
    assert status_of("record", "--sysfs", tree, "--kernel", "6.12", "--no-redact") == 0
    out, told = capsys.readouterr()
    capture = json.loads(out)["capture"]
    assert capture["identity"]["user"] == "mildred.hubble"
    assert capture["identity"]["product_serial"] == "SN-4711-0815"
    assert "kept because of --no-redact: " in told


def test_an_output_that_cannot_be_written_leaves_nothing(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "machine.json").mkdir()
    assert status_of("record", "--sysfs", tree, "--kernel", "6.12", "-o", tmp_path / "machine.json", "--quiet") == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["machine.json", "sys"]


def test_a_recording_of_plain_files_is_judged_by_what_they_can_show(tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "machine.json"
    assert status_of("record", "--sysfs", tree, "--kernel", "6.12", "-o", out, "--quiet") == 0
    subject = RecordedTree(out)
    assert subject.can == {"content", "modes", "links"}
    with pytest.raises(CannotTell, match="its read failed when the copy was made"):
        subject.read(f"{ZONE}/power/autosuspend_delay_ms")
    assert status_of("run", "powercap.*", "rapl.*", "--recording", out) == 0


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_a_bar_on_stderr_shows_how_far_what_lasts_is(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with cli_record._bar("over at once") as moved:
        moved(0.5)
    assert "over at once" not in terminal.getvalue()
    monkeypatch.setattr(cli_record, "_UNSEEN_S", 0.0)
    with cli_record._bar("watching [the] counters") as moved:
        moved(0.5)
        moved(1.0)
    assert "watching [the] counters" in terminal.getvalue()


def test_the_counters_are_watched_as_long_as_asked_and_told_of(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "machine.json"
    assert status_of("record", "--sysfs", tree, "-o", out, "--load-seconds", "0.01") == 0
    assert "intel-rapl:0: 0 changes in " in capsys.readouterr().err
    capture = load_recording(out).capture
    assert capture is not None
    assert any(line.startswith("the kernel of this tree: ") for line in capture.left_out)
    assert [facts.path.rpartition("/")[2] for facts in capture.counters] == ["energy_uj"] * 4
    assert all(facts.reads > 0 and facts.drawn_uj == 0 for facts in capture.counters)
