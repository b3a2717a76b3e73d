# SPDX-License-Identifier: Apache-2.0
"""The formats of `raplica generate` from outside: the same bytes each time, whole files, and what is lost is told."""

import io
import json
import re
import tarfile
import zipfile
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from raplica_simulator.cli import cli
from raplica_simulator.cli_generate import generate as command
from raplica_simulator.generate import FORMATS, Wanted
from raplica_simulator.surfaces import Selection, safe_zip
from raplica_simulator.surfaces.selection import LAYOUTS

FILES = [name for name in FORMATS if name != "tree"]


def generate(*arguments: str | Path) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(cli, ["generate", *map(str, arguments)], prog_name="raplica")


def told(result: Result) -> str:
    """The one line that a success prints on stderr."""
    assert result.exit_code == 0, result.stderr
    assert result.stderr.count("\n") == 1, result.stderr
    return result.stderr


def refused(result: Result) -> str:
    """Why the command was asked for wrongly; it prints nothing else."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    return result.stderr


@pytest.mark.parametrize("kind", FILES)
def test_a_format_gives_the_same_bytes_each_time_to_a_file_and_to_stdout(tmp_path: Path, kind: str) -> None:
    out = tmp_path / FORMATS[kind]
    told(generate("kabylake", out, "--format", kind, "--at", "60"))
    piped = generate("kabylake", "-", "--format", kind, "--at", "60")
    assert told(piped).startswith("raplica: stdout is a snapshot of kabylake at 60 s: 109 attributes")
    assert piped.stdout_bytes == out.read_bytes() != b""
    assert generate("kabylake", "-", "--format", kind, "--at", "61").stdout_bytes != piped.stdout_bytes


@pytest.mark.parametrize("kind", FILES)
def test_a_file_comes_whole_or_not_at_all(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    places = {
        "tar": "generate.write_tar",
        "zip": "surfaces.safe_zip.pack_zip",
        "recording": "surfaces.recording_out.pack_recording",
    }
    monkeypatch.setattr(f"raplica_simulator.{places.get(kind, f'surfaces.{kind}.pack_{kind}')}", fail)
    out = tmp_path / FORMATS[kind]
    out.write_bytes(b"precious")
    result = generate("zen4", out, "--format", kind, "--force")
    assert (result.exit_code, "No space left on device" in result.stderr) == (1, True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {out.name: b"precious"}


@pytest.mark.parametrize("kind", FILES)
def test_a_file_that_holds_something_is_replaced_by_force_only(tmp_path: Path, kind: str) -> None:
    out = tmp_path / FORMATS[kind]
    out.write_bytes(b"precious")
    assert "say --force to replace it" in refused(generate("zen4", out, "--format", kind))
    assert out.read_bytes() == b"precious"
    told(generate("zen4", out, "--format", kind, "--force"))
    assert out.read_bytes() != b"precious"
    out.unlink()
    out.mkdir()
    assert f"such as {FORMATS[kind]}, or - for stdout" in refused(generate("zen4", out, "--format", kind))


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("tree", "a tree keeps no errno"),
        ("tar", "a tar keeps no errno\n"),
        ("ttar", "a ttar keeps no errno, no owner\n"),
        ("umockdev", "a umockdev keeps no errno, no mode, no owner, no uevent\n"),
        ("zip", "modes, links, folders and errno stand in raplica-manifest.json; it keeps no owner\n"),
        ("recording", "replayed as a MACHINE it lacks its load\n"),
    ],
)
def test_what_a_format_cannot_hold_is_told(tmp_path: Path, kind: str, words: str) -> None:
    line = told(generate("kabylake", tmp_path / FORMATS[kind], "--format", kind))
    assert words in line
    assert "4 constraint_0_max_power_uw ENODATA" in line
    assert ("and are empty" in line) is (kind != "recording")


def test_no_errno_is_called_lost_where_there_is_none(tmp_path: Path) -> None:
    line = told(generate("kabylake", tmp_path / "a.tar", "--format", "tar", "--attributes", "energy_uj"))
    assert line.endswith("is a snapshot of kabylake at 0 s: 5 attributes\n")


def test_one_attribute_is_one() -> None:
    line = told(generate("kabylake", "-", "--format", "tar", "--zones", "intel-rapl:0", "--attributes", "name"))
    assert line.endswith("0 s: 1 attribute\n")


def test_a_tree_loses_the_owner_where_root_does_not_write_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for uid, words in ((0, "a tree keeps no errno\n"), (1000, "a tree keeps no errno, no owner\n")):
        monkeypatch.setattr("raplica_simulator.generate.os.geteuid", lambda uid=uid: uid)
        assert told(generate("kabylake", tmp_path / str(uid))).endswith(words)


@pytest.mark.parametrize(
    ("machine", "lacks"),
    [
        ("zen4", "its load, registers of single cores"),
        ("dtpm", "what dtpm draws by itself"),
        ("idle-injection", "what idle-injection draws by itself"),
    ],
)
def test_what_a_replayed_recording_lacks_is_told(machine: str, lacks: str) -> None:
    line = told(generate(machine, "-", "--format", "recording"))
    assert line.endswith(f"replayed as a MACHINE it lacks {lacks}\n")


def test_a_recording_of_a_machine_that_is_all_registers_lacks_nothing(tmp_path: Path) -> None:
    still = tmp_path / "still.toml"
    still.write_text(
        '[cpu]\nvendor = "GenuineIntel"\nfamily = 6\nmodel = 85\n[topology]\npackages = 1\n'
        "[registers]\n0x606 = 0xA0E03\n0x610 = 0\n0x611 = 7\n"
    )
    assert "lacks" not in told(generate(still, "-", "--format", "recording"))


def test_the_help_offers_what_there_is() -> None:
    offered = {one.name: tuple(one.type.choices) for one in command.params if isinstance(one.type, click.Choice)}
    assert offered == {"kind": tuple(FORMATS), "layout": LAYOUTS}


@pytest.mark.parametrize("kind", ["tar", "ttar", "zip"])
def test_a_prefix_stands_before_every_path(kind: str) -> None:
    piped = generate("kabylake", "-", "--format", kind, "--prefix", "fixtures/sys/").stdout_bytes
    if kind == "tar":
        with tarfile.open(fileobj=io.BytesIO(piped)) as archive:
            members = archive.getmembers()
        names = [member.name for member in members]
        assert [(one.name, one.mode, one.type) for one in members[:2]] == [
            ("fixtures", 0o755, tarfile.DIRTYPE),
            ("fixtures/sys", 0o755, tarfile.DIRTYPE),
        ]
    elif kind == "zip":
        names = zipfile.ZipFile(io.BytesIO(piped)).namelist()
    else:
        names = re.findall(r"^(?:Path|Directory): (.*)", piped.decode(), flags=re.MULTILINE)
        assert names[:2] == ["fixtures", "fixtures/sys"]
    assert all(name == "fixtures" or name.startswith("fixtures/sys") for name in names)
    assert len(names) > 100


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--format", "cpio"], "cpio"),
        (["--format", "ttar", "--prefix", "/sys"], "no relative path"),
        (["--format", "ttar", "--prefix", "a/../b"], "no relative path"),
        (["--format", "ttar", "--prefix", "a\nb"], "a\\nb"),
        (["--format", "umockdev", "--prefix", "a"], "leave it out of --format umockdev"),
        (["--prefix", "a"], "--prefix is for tar, ttar, zip"),
        (["--format", "umockdev", "--layout", "flat"], "lays its devices out itself"),
        (["--format", "recording", "--zones", "intel-rapl"], "a recording is the whole machine"),
        (["--format", "recording"], "ends in .json"),
        (
            ["--zones", "intel-rapl:7"],
            "nothing here is called intel-rapl:7; the control types and zones are intel-rapl,",
        ),
        (["--zones", "intel-rapl", "--attributes", "energy_uj"], "intel-rapl has no energy_uj, so nothing is left"),
        (["--layout", "flat", "--attributes", "power/*"], "--layout flat has no power/*, so nothing is left"),
        (["--format", "tar", "--prefix", "/"], "no relative path"),
        (["--attributes", "energy"], "nothing here is called energy; the attributes are uevent,"),
        (["--zones", "intel-rapl,"], "separated by single commas"),
        (["--zones", ""], "separated by single commas"),
        (["--packages", "0"], "at least one package"),
        (["--packages", "many"], "many"),
        (["--packages", "5000"], "too many"),
        (["--layout", "deep"], "deep"),
    ],
)
def test_what_does_not_fit_together_is_refused_before_anything_is_written(
    tmp_path: Path, options: list[str], words: str
) -> None:
    assert words in refused(generate("kabylake", tmp_path / "out", *options))
    assert list(tmp_path.iterdir()) == []


def test_a_machine_without_zones_says_so_when_zones_are_asked_for(tmp_path: Path) -> None:
    profile = tmp_path / "mine.toml"
    profile.write_text('[cpu]\nvendor = "GenuineIntel"\nfamily = 6\nmodel = 85\n[topology]\npackages = 1\n')
    assert "are none at all" in refused(generate(profile, "-", "--format", "tar", "--zones", "*"))
    for layout in LAYOUTS:
        assert "class/powercap is empty" in told(generate(profile, tmp_path / layout, "--layout", layout))


def test_the_formats_hold_the_same_content() -> None:
    """Tar, zip and recording of one moment, attribute by attribute; ttar and umockdev have parsers of their own."""
    with tarfile.open(fileobj=io.BytesIO(generate("alderlake-p", "-", "--format", "tar").stdout_bytes)) as archive:
        tar = {one.name: (one.mode, archive.extractfile(one).read()) for one in archive if one.isfile()}  # type: ignore[union-attr]
    zipped = zipfile.ZipFile(io.BytesIO(generate("alderlake-p", "-", "--format", "zip").stdout_bytes))
    entries = [one for one in json.loads(zipped.read(safe_zip.MANIFEST))["entries"] if one["type"] == "file"]
    assert {one["path"]: (int(one["mode"], 8), zipped.read(one["name"])) for one in entries} == tar
    tree = json.loads(generate("alderlake-p", "-", "--format", "recording").stdout)["tree"]
    recorded = {
        path: (int(entry["mode"], 8), entry["read"].get("content", "").encode("latin-1"))
        for path, entry in tree.items()
        if entry["type"] == "file"
    }
    assert recorded == tar
    errnos = {path: entry["read"]["errno"] for path, entry in tree.items() if "errno" in entry.get("read", {})}
    assert errnos == {one["path"]: one["errno"] for one in entries if "errno" in one} != {}


def test_wanted_is_checked_in_python_too() -> None:
    with pytest.raises(ValueError, match="whole machine"):
        Wanted("recording", Selection(layout="flat"))
    assert Wanted("zip", prefix="a/b").prefix == "a/b"
