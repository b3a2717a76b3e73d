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
EXAMINE = (
    "import json; from raplica_simulator.doctor import examine; print(json.dumps([f._asdict() for f in examine()]))"
)


needs_root = pytest.mark.usefixtures("rooms")

Findings = dict[str, dict[str, object]]


def examine(traits: str, folder: Path) -> Findings:
    command = [sys.executable, str(ROOM), traits, str(folder), sys.executable, "-c", EXAMINE]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == ""
    found = json.loads(done.stdout)
    return {finding.pop("name"): finding for finding in found}


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
    found = examine("nobody,open-device", tmp_path)
    assert found["exec"] == {"works": True, "says": "a command can be run on a machine", "fix": ""}
    assert found["user namespaces"]["works"]
    assert found["mount"]["works"] is found["fusermount3"]["works"]


@needs_root
@pytest.mark.parametrize(
    ("traits", "broken", "fix"),
    [
        ("nobody,no-device", {"FUSE device", "mount", "exec"}, "modprobe fuse"),
        ("nobody,closed-device", {"FUSE device", "mount", "exec"}, "chmod 666 /dev/fuse"),
        ("nobody,open-device,limit", {"user namespaces", "mount namespaces", "exec"}, "max_user_namespaces"),
        ("no-namespaces", {"user namespaces", "mount namespaces", "exec"}, "--cap-add SYS_ADMIN"),
    ],
)
def test_what_is_in_the_way_is_named_with_its_fix(tmp_path: Path, traits: str, broken: set[str], fix: str) -> None:
    found = examine(traits, tmp_path)
    needed = {name for name in found if name not in ("overlay", "libfuse3", "perf", "fusermount3")}
    unusable = {name for name in needed if not found[name]["works"]}
    # fusermount3 is setuid root, which nobody's own user namespace does not let it be.
    assert unusable - {"mount"} == broken - {"mount"}
    assert all(fix in str(found[name]["fix"]) for name in broken)


@needs_root
@pytest.mark.parametrize("traits", ["nobody,closed-device", "no-namespaces"])
def test_exec_says_the_same(tmp_path: Path, traits: str) -> None:
    found = examine(traits, tmp_path)["exec"]
    again = tmp_path / "again"
    again.mkdir()
    command = [sys.executable, str(ROOM), traits, str(again), sys.executable, "-m", "raplica_simulator"]
    done = subprocess.run([*command, "exec", "kabylake", "--", "true"], capture_output=True, text=True, check=False)
    assert done.stderr == f"raplica: {found['says']}: {found['fix']}\n"
