# SPDX-License-Identifier: Apache-2.0
"""Which kernel is taken, and what is said where there is none, or no archive at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from kernel_witness.failure import WitnessError
from kernel_witness.kernels import choose, get_kernel
from kernel_witness.main import main
from kernel_witness.packages import Archive

IMAGES = [
    "linux-image-6.1.0-9-amd64",
    "linux-image-6.1.0-56-amd64",
    "linux-image-6.1.0-56-cloud-amd64",
    "linux-image-6.1.0-57-rt-amd64",
    "linux-image-6.12.101+deb12-amd64",
    "linux-image-6.12.9+deb12-amd64",
    "linux-image-6.12.117+deb12-amd64-unsigned",
]


@pytest.mark.parametrize(
    ("series", "image"), [("6.1", "linux-image-6.1.0-56-amd64"), ("6.12", "linux-image-6.12.101+deb12-amd64")]
)
def test_the_newest_plain_image_of_a_series_is_taken(series: str, image: str) -> None:
    assert choose(IMAGES, series) == image


def test_a_series_that_is_not_there_is_answered_with_those_that_are() -> None:
    with pytest.raises(WitnessError) as caught:
        choose(IMAGES, "6.9")
    assert str(caught.value) == (
        "the package sources of this machine have no kernel 6.9, they have 6.1, 6.12; "
        "name one of those with --kernel, or add a source"
    )


def test_an_archive_without_kernels_says_so() -> None:
    with pytest.raises(WitnessError, match="they have no kernel at all; "):
        choose(["linux-image-6.1.0-56-cloud-amd64"], "6.1")


@pytest.mark.parametrize("command", ["record", "judge", "kill"])
def test_without_apt_one_line_says_what_to_do(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main([command, "--cache", str(tmp_path / "cache"), str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err == (
        "witness: QEMU and the kernels come as Debian packages, and apt-get is not on this machine; "
        "run this on Debian, or in a Debian container\n"
    )


def write_program(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)


def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **programs: str) -> Archive:
    """An archive on a machine with these programs."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("apt-get", "apt-cache", "dpkg-deb"):
        write_program(folder, name, programs.get(name.replace("-", "_"), "exit 0"))
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return Archive(tmp_path / "cache")


def test_package_names_are_read_from_what_apt_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = archive(tmp_path, monkeypatch, apt_cache="echo 'linux-image-6.1.0-56-amd64 - Linux 6.1'; echo 'b - c - d'")
    assert found.search("linux-image-.*") == ["linux-image-6.1.0-56-amd64", "b"]


def test_dependencies_are_read_from_what_apt_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = (
        r"printf 'python3-minimal\n  PreDepends: python3.11-minimal\n  Depends: dpkg\n  Suggests: python3.12-minimal\n'"
    )
    found = archive(tmp_path, monkeypatch, apt_cache=told)
    assert found.depends("python3-minimal", r"python3\.\d+-minimal") == ["python3.11-minimal"]


def test_where_nothing_is_found_package_lists_are_fetched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = tmp_path / "said"
    found = archive(tmp_path, monkeypatch, apt_get=f'echo "$@" >> {said}')
    assert found.search("linux-image-.*") == []
    assert found.search("linux-image-.*") == []
    assert said.read_text(encoding="utf-8").count(" update\n") == 1


def test_a_newer_release_is_asked_of_the_same_mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = tmp_path / "said"
    mirror = "echo http://mirror/security/ bookworm-security main; echo http://mirror/debian/ bookworm main"
    found = archive(tmp_path, monkeypatch, apt_get=f'echo "$@" >> {said}; {mirror}')
    newer = found.newer_release(("trixie", "trixie-backports"))
    folder = tmp_path / "cache" / "trixie-backports"
    listed = (folder / "sources.list").read_text(encoding="ascii").splitlines()
    assert listed == ["deb http://mirror/debian/ trixie main", "deb http://mirror/debian/ trixie-backports main"]
    newer.missing_for("make")
    update, ask = (line for line in said.read_text(encoding="utf-8").splitlines() if "indextargets" not in line)
    assert f"Dir::Etc::sourcelist={folder / 'sources.list'} -o" in update
    assert "Default-Release" not in update
    assert "Dir::State::status=/dev/null" in ask
    assert "APT::Default-Release=trixie-backports" in ask


def test_sources_without_a_release_have_no_newer_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = archive(tmp_path, monkeypatch)
    with pytest.raises(WitnessError, match="name no release of Debian: there is no mirror to ask"):
        found.newer_release(("trixie",))


def test_a_kernel_newer_than_all_here_is_looked_for_in_the_next_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = "linux-image-6.12.9+deb12-amd64 - x"
    there = "linux-image-7.2.12+deb13-amd64 - x"
    told = f"case \"$*\" in *trixie*) echo '{there}';; *) echo '{here}';; esac"
    found = archive(tmp_path, monkeypatch, apt_cache=told, apt_get="echo http://mirror/debian/ bookworm main")
    for series in ("7.3", "6.13"):
        with pytest.raises(WitnessError, match=rf"have no kernel {series}, they have 7\.2; "):
            get_kernel(found, series)
    with pytest.raises(WitnessError, match=r"have no kernel 6\.11, they have 6\.12; "):
        get_kernel(found, "6.11")


def test_what_cannot_be_fetched_is_told_with_the_error_of_apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = archive(tmp_path, monkeypatch, apt_get="echo 'E: Unable to locate package nothing' >&2; exit 100")
    with pytest.raises(WitnessError, match=r"^fetching (nothing|the package lists): E: Unable to locate"):
        found.unpack(["nothing"], "nothing")


def test_packages_are_fetched_together_and_unpacked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unpacked, asked = tmp_path / "unpacked", tmp_path / "asked"
    fetch = 'for name; do : > "${name}_1_amd64.deb"; done'
    found = archive(
        tmp_path,
        monkeypatch,
        apt_get=f'echo >> {asked}; while [ "$1" != download ]; do shift; done; shift; {fetch}',
        dpkg_deb=f'echo "$2" >> {unpacked}; : > "$3/file"',
    )
    first = found.unpack(["b", "a"], "both")
    assert found.unpack(["a", "b"], "both") == first == tmp_path / "cache" / "both"
    assert (first / "file").exists()
    assert len(unpacked.read_text(encoding="utf-8").splitlines()) == 2
    assert asked.read_text(encoding="utf-8") == "\n", "both are fetched by one call"
