# SPDX-License-Identifier: Apache-2.0
"""What SECURITY.md says of files from strangers: no path of theirs leads out, and no terminal gets them as they are."""

import io
import json
import os
import re
import stat
import tarfile
from pathlib import Path, PurePosixPath
from typing import Any
from zipfile import ZipFile

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from raplica_simulator import Machine
from raplica_simulator.cli import main
from raplica_simulator.load.trace import read_trace
from raplica_simulator.profile.profile import ProfileError, load_profile
from raplica_simulator.scenario.scenario import Scenario
from raplica_simulator.surfaces.archive import stream_archive
from raplica_simulator.surfaces.directory import write_tree
from raplica_simulator.surfaces.recording_out import pack_recording
from raplica_simulator.surfaces.safe_zip import pack_zip
from raplica_simulator.surfaces.snapshot import take_snapshot
from raplica_simulator.surfaces.ttar import pack_ttar

PROFILE = """
[cpu]
vendor = "GenuineIntel"
family = 6
model = 158
[topology]
packages = 1
[registers]
0x606 = 0xA0E03
0x611 = 0x12345678
"""

# Paths from strangers.

OUTSIDE = ["../etc/passwd", "/etc/passwd", "class/../../etc/passwd", "..", "class/powercap/../../../../etc/passwd"]


@pytest.mark.parametrize("name", [*OUTSIDE, "../kabylake", "./kabylake", "kabylake/../kabylake", "kabylake\0", ""])
def test_a_machines_id_is_no_path(name: str) -> None:
    with pytest.raises(ProfileError):
        load_profile(name)


@pytest.mark.parametrize("path", OUTSIDE)
def test_a_fault_in_a_profile_lies_in_the_tree(tmp_path: Path, path: str) -> None:
    profile = tmp_path / "odd.toml"
    profile.write_text(f'{PROFILE}[[faults.sysfs]]\npath = "{path}"\non = "read"\nerrno = "EIO"\n')
    with pytest.raises(ProfileError, match=r"odd\.toml: faults"):
        load_profile(profile)


@pytest.mark.parametrize("path", OUTSIDE)
def test_an_event_of_a_scenario_lies_in_the_tree(tmp_path: Path, path: str) -> None:
    scenario = tmp_path / "odd.toml"
    scenario.write_text(
        f'machine = "kabylake"\n[[event]]\nat_s = 1\ndo = "fault"\npath = "{path}"\non = "read"\nerrno = "EIO"\n'
    )
    with pytest.raises(ProfileError, match=r"odd\.toml: event"):
        Scenario.load(str(scenario)).rehearse()


@pytest.mark.parametrize("key", ["machine", "load"])
@pytest.mark.parametrize("path", ["/etc/other{}", "../other{}", "below/../../other{}"])
def test_a_scenario_reads_nothing_outside_its_own_folder(tmp_path: Path, key: str, path: str) -> None:
    ending = ".toml" if key == "machine" else ".csv"
    (tmp_path / f"other{ending}").write_text(PROFILE if key == "machine" else "time_s,package\n1,10\n")
    folder = tmp_path / "scenarios"
    (folder / "below").mkdir(parents=True)
    words = {"machine": "kabylake", key: path.format(ending)}
    (folder / "odd.toml").write_text("".join(f'{name} = "{value}"\n' for name, value in words.items()))
    with pytest.raises(ProfileError, match="beside the scenario or below it"):
        Scenario.load(str(folder / "odd.toml"))


@pytest.mark.parametrize("key", ["machine", "load"])
@pytest.mark.parametrize("leads", ["elsewhere", "device", "here"])
def test_a_link_beside_a_scenario_leads_to_a_file_beside_it_only(tmp_path: Path, key: str, leads: str) -> None:
    ending, text = (".toml", PROFILE) if key == "machine" else (".csv", "time_s,package\n1,10\n")
    folder = tmp_path / "scenarios"
    folder.mkdir()
    for place in (tmp_path, folder):
        (place / f"other{ending}").write_text(text)
    target = {"elsewhere": f"../other{ending}", "device": "/dev/zero", "here": f"other{ending}"}[leads]
    (folder / f"link{ending}").symlink_to(target)
    words = {"machine": "kabylake", key: f"link{ending}"}
    (folder / "odd.toml").write_text("".join(f'{name} = "{value}"\n' for name, value in words.items()))
    # However one came to it.
    (tmp_path / "also").symlink_to("scenarios")
    for way in (folder, tmp_path / "also"):
        if leads == "here":
            assert Scenario.load(str(way / "odd.toml")).title
            continue
        with pytest.raises(ProfileError, match=rf"link\{ending}: must lie beside the scenario .* this link leads out"):
            Scenario.load(str(way / "odd.toml"))


def test_what_a_linked_scenario_names_lies_beside_the_real_one(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    (real / "plain.toml").write_text('machine = "kabylake"\nload = "plain.csv"\n')
    (real / "plain.csv").write_text("time_s,package\n1,10\n")
    for name in ("plain.toml", "plain.csv"):
        (tmp_path / name).symlink_to(real / name)
    assert Scenario.load(str(tmp_path / "plain.toml")).load_plan is not None


@pytest.mark.parametrize("key", ["machine", "load"])
def test_what_is_no_file_beside_a_scenario_is_not_waited_for(tmp_path: Path, key: str) -> None:
    name = "pipe.toml" if key == "machine" else "pipe.csv"
    os.mkfifo(tmp_path / name)
    words = {"machine": "kabylake", key: name}
    (tmp_path / "odd.toml").write_text("".join(f'{one} = "{value}"\n' for one, value in words.items()))
    with pytest.raises(ProfileError, match=f"{name}: is no file"):
        Scenario.load(str(tmp_path / "odd.toml"))


def test_a_trace_without_an_end_fills_no_memory() -> None:
    # Where the limit is not kept this takes all there is.
    with pytest.raises(ValueError, match="the first line is to name the columns"):
        read_trace("/dev/zero")


ODD_NAMES = st.one_of(
    st.sampled_from(
        ["..", ".", "/", "../x", "/x", "a/b", "a/../../x", "\\..\\x", "C:x", "~", "$HOME", "-x", "x\0y", "\n", ""]
    ),
    st.text(st.sampled_from("./\\a:\n\0é"), max_size=8),
)


def profile_with(name: str, folder: Path) -> Path:
    """A profile of a machine with a control type and a zone of that name."""
    quoted = json.dumps(name)
    profile = folder / "names.toml"
    profile.write_text(
        f"{PROFILE}[[control_type]]\nname = {quoted}\n[[control_type.zone]]\nname = {quoted}\nenergy_uj = 5\n"
    )
    return profile


@given(name=ODD_NAMES)
@example("plain")
def test_an_archive_holds_nothing_that_would_be_unpacked_elsewhere(
    tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    profile = profile_with(name, tmp_path_factory.getbasetemp())
    stream = io.BytesIO()
    try:
        stream_archive(Machine.from_profile(profile), stream)
    except ValueError:
        assert name != "plain"
        assert stream.getvalue() == b""
        return
    stream.seek(0)
    root = PurePosixPath("/root")
    with tarfile.open(fileobj=stream) as archive:
        for member in archive:
            assert member.type in (tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE)
            assert member.mode & (stat.S_IWOTH | stat.S_ISUID | stat.S_ISGID) == 0 or member.issym()
            for place in [member.name] + [f"{PurePosixPath(member.name).parent}/{member.linkname}"] * member.issym():
                assert not place.startswith("/")
                assert PurePosixPath(os.path.normpath(root / place)).is_relative_to(root)


# A recording has links and paths of its own; what becomes of it is the machine's alone.
ZONE_LINK = "class/powercap/intel-rapl:0"
ZONE_NAME = "devices/virtual/powercap/intel-rapl/intel-rapl:0/name"


@pytest.fixture(scope="module")
def recording() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(pack_recording(Machine.from_profile("sandybridge")))
    return found


@pytest.mark.parametrize("registers", [True, False])
@pytest.mark.parametrize("target", ["/etc/passwd", "../../../../../etc", "..", "x" * 5000])
def test_no_link_of_a_recording_leads_out_of_a_tree(
    tmp_path: Path, recording: dict[str, Any], target: str, *, registers: bool
) -> None:
    link = {**recording["tree"][ZONE_LINK], "target": target}
    odd = {**recording, "tree": {**recording["tree"], ZONE_LINK: link}}
    (tmp_path / "odd.json").write_text(json.dumps(odd if registers else {**odd, "registers": {}}))
    write_tree(Machine.from_profile(tmp_path / "odd.json"), tmp_path / "tree")
    links = [path for path in (tmp_path / "tree").rglob("*") if path.is_symlink()]
    assert len(links) > 5
    assert [path for path in links if not path.resolve().is_relative_to(tmp_path / "tree")] == []


@pytest.mark.parametrize("path", [*OUTSIDE, "class/powercap/./x", "class/powercap/a\0b", "class/powercap/\x1b[31m"])
def test_a_recording_has_no_path_that_leads_out(tmp_path: Path, recording: dict[str, Any], path: str) -> None:
    odd = {**recording, "tree": {**recording["tree"], path: recording["tree"][ZONE_NAME]}}
    (tmp_path / "odd.json").write_text(json.dumps(odd))
    with pytest.raises(ValueError, match=r"odd\.json: tree\.") as refused:
        Machine.from_profile(tmp_path / "odd.json")
    assert str(refused.value).isprintable()


@settings(max_examples=30)
@given(name=ODD_NAMES)
@example("plain")
@example("..")
def test_a_zip_and_a_ttar_hold_nothing_that_would_be_unpacked_elsewhere(
    tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    profile = profile_with(name, tmp_path_factory.getbasetemp())
    try:
        snapshot = take_snapshot(Machine.from_profile(profile).sysfs)
    except ValueError:
        assert name != "plain"
        return
    names = ZipFile(io.BytesIO(pack_zip(snapshot))).namelist()
    assert [one for one in names if "\\" in one or ":" in one or one.startswith("/")] == []
    names += re.findall(r"(?m)^(?:Path|Directory): (.*)$", pack_ttar(snapshot).decode())
    assert [one for one in names if {"", ".", ".."} & set(one.split("/"))] == []


# What strangers write reaches no terminal as it is.

RAW = "\x1b]0;title\x07\x9b31m\u202e"


@pytest.mark.parametrize(
    "words",
    [
        ["show", f"{RAW}.toml"],
        ["generate", "kabylake", f"{RAW}/there"],
        ["mount", "kabylake", f"{RAW}/there"],
        ["exec", "kabylake", "--load", f"{RAW}=1", "--", "true"],
        ["exec", "kabylake", "--scenario", f"{RAW}.toml", "--", "true"],
        ["exec", "kabylake", "--control", f"{RAW}/door", "--", "true"],
        ["ctl", RAW, "status"],
        ["decode", "0x610", RAW],
    ],
)
def test_an_error_is_one_line_that_changes_no_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / RAW).write_text("in the way")
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code in (1, 2, 125)
    out, err = capfd.readouterr()
    assert (out, err[-1:], err[:-1].isprintable()) == ("", "\n", True)
    assert "\\x1b]0;title\\x07\\x9b31m\\u202e" in err
