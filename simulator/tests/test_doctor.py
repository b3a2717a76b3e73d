# SPDX-License-Identifier: Apache-2.0
"""What this system allows, as the doctor finds it, and what mount and exec say where it does not."""

import json
import os
import subprocess
import sys
import tempfile
from errno import ENOENT
from pathlib import Path

import pytest

from raplica_simulator import doctor

ROOM = Path(__file__).with_name("room.py")
# What the doctor finds, and what the commands say of which it says that they cannot do their work: by name, the
# exit status and the line.
ASK = """
import contextlib, io, json, tempfile
from raplica_simulator.cli import main
from raplica_simulator.doctor import examine
found, said = {one.name: one._asdict() for one in examine()}, {}
with contextlib.suppress(FileNotFoundError), tempfile.TemporaryDirectory() as place:
    for name, words in (("mount", [place]), ("exec", ["--", "true"])):
        if not found[name]["works"]:
            with contextlib.redirect_stderr(io.StringIO()) as told:
                try: main([name, "kabylake", *words])
                except SystemExit as ended: said[name] = ended.code, told.getvalue()
print(json.dumps([found, said]))
"""


needs_root = pytest.mark.usefixtures("rooms")

Findings = dict[str, dict[str, object]]


def ask(traits: str, folder: Path) -> tuple[Findings, dict[str, tuple[int, str]]]:
    command = [sys.executable, str(ROOM), traits, str(folder), sys.executable, "-c", ASK]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == ""
    found, said = json.loads(done.stdout)
    return found, {name: (status, line) for name, (status, line) in said.items()}


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_all_is_looked_at_and_nothing_is_left() -> None:
    before = Path("/proc/self/ns/mnt").readlink()
    found = {finding.name: finding._asdict() for finding in doctor.examine()}
    assert list(found) == [
        "FUSE device",
        "fusermount3",
        "user namespaces",
        "mount namespaces",
        "overlay",
        "libfuse3",
        "perf",
        "mount",
        "exec",
    ]
    assert all(finding["says"] for finding in found.values())
    assert all(finding["works"] or finding["fix"] for name, finding in found.items() if name in ("mount", "exec"))
    assert Path("/proc/self/ns/mnt").readlink() == before


@pytest.mark.parametrize(("user", "paranoid", "works"), [(0, 4, True), (1000, 0, True), (1000, 2, False)])
def test_perf_events_are_for_root_or_for_all(
    monkeypatch: pytest.MonkeyPatch, user: int, paranoid: int, *, works: bool
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(doctor, "setting", lambda _name: paranoid)
    found = doctor._perf()
    assert (found.works, bool(found.fix), str(paranoid) in found.says) == (works, not works, True)
    monkeypatch.setattr(doctor, "setting", lambda _name: None)
    assert "no perf events" in doctor._perf().says


def test_who_is_not_root_is_told_to_install_what_mounts_for_him(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert doctor._helper().fix.startswith("`apt-get install fuse3`")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert doctor._helper().fix == ""


def test_where_no_file_can_be_made_the_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: str) -> None:
        raise FileNotFoundError(ENOENT, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "TemporaryDirectory", refuse)
    found = {finding.name: finding for finding in doctor.examine()}["mount"]
    assert (found.works, found.says) == (False, "no mount can be tried here")
    assert found.fix.endswith("set TMPDIR to a folder that you may write to")


@needs_root
def test_a_user_without_rights_finds_that_both_can_be_done(tmp_path: Path) -> None:
    found, said = ask("nobody,open-device", tmp_path)
    assert found["exec"]["says"] == "a command can be run on a machine"
    assert found["user namespaces"]["works"]
    assert found["mount"]["works"] is found["fusermount3"]["works"]
    assert [*said] == [name for name in ("mount", "exec") if not found[name]["works"]]


@needs_root
def test_no_library_of_the_system_is_needed(tmp_path: Path) -> None:
    found, _ = ask("no-library", tmp_path)
    assert {name: found[name]["works"] for name in ("libfuse3", "mount", "exec")} == {
        "libfuse3": False,
        "mount": True,
        "exec": True,
    }


DEVICE, NAMESPACES = {"FUSE device", "mount", "exec"}, {"user namespaces", "mount namespaces", "exec"}


@needs_root
@pytest.mark.parametrize(
    ("traits", "broken", "says", "fix"),
    [
        ("no-device", DEVICE, "there is no /dev/fuse", "--device /dev/fuse"),
        ("nobody,no-device", DEVICE, "there is no /dev/fuse", "modprobe fuse"),
        ("nobody,closed-device", DEVICE, "/dev/fuse is closed to you", "chmod 666 /dev/fuse"),
        ("no-namespaces", NAMESPACES, "namespaces are not allowed here", "--cap-add SYS_ADMIN"),
        # As in a container of Docker's.
        ("no-admin,no-namespaces", NAMESPACES | {"mount"}, "namespaces are not allowed here", "--cap-add SYS_ADMIN"),
        ("no-mounts", {"mount namespaces", "mount", "exec"}, "mounting is not allowed here", "apparmor=unconfined"),
        ("nobody,open-device,no-namespaces", NAMESPACES, "namespaces are not allowed here", "privileged: true"),
        (
            "nobody,open-device,limit",
            NAMESPACES,
            "user.max_user_namespaces is 0 here",
            "sysctl user.max_user_namespaces=",
        ),
        ("no-sys", {"exec"}, "there is no /sys/devices/virtual", "where /sys, /proc and /dev are not mounted"),
        (
            "nobody,open-device,no-proc",
            {"mount namespaces", "mount", "exec"},
            "there is no /proc/self/setgroups",
            "where /sys, /proc and /dev are not mounted",
        ),
    ],
)
def test_what_is_in_the_way_is_named_with_its_fix_by_the_doctor_and_by_who_cannot_do_it(
    tmp_path: Path, traits: str, broken: set[str], says: str, fix: str
) -> None:
    found, said = ask(traits, tmp_path)
    needed = {name for name in found if name not in ("overlay", "libfuse3", "perf", "fusermount3")}
    unusable = {name for name in needed if not found[name]["works"]}
    if "nobody" in traits:  # whom fusermount3 helps where it is there, and may
        broken, unusable = broken - {"mount"}, unusable - {"mount"}
    assert unusable == broken
    assert str(found["exec"]["says"]) == says
    assert fix in str(found["exec"]["fix"])
    if "no-proc" in traits:
        del said["mount"]  # it could not even look at the folder
    assert said == {
        name: (125 if name == "exec" else 1, f"raplica: {found[name]['says']}: {found[name]['fix']}\n") for name in said
    }
    assert "exec" in said


@needs_root
def test_where_no_program_gets_rights_who_cannot_mount_is_told_why(tmp_path: Path) -> None:
    found, said = ask("nobody,open-device,no-new-rights", tmp_path)
    assert found["exec"]["works"]
    if found["fusermount3"]["works"]:
        assert "no_new_privs" in str(found["mount"]["says"])
    assert said["mount"] == (1, f"raplica: {found['mount']['says']}: {found['mount']['fix']}\n")
