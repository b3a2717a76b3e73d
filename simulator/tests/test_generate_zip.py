# SPDX-License-Identifier: Apache-2.0
"""A snapshot as a zip archive: names that Windows and Go modules take, and a manifest that gives all of it back."""

import io
import json
import re
import zipfile
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_simulator import Machine
from raplica_simulator.surfaces.safe_zip import MANIFEST, pack_zip, safe_name
from raplica_simulator.surfaces.selection import Selection, select
from raplica_simulator.surfaces.snapshot import Folder, Snapshot, take_snapshot

#: Names that Windows reserves, with any ending.
DEVICES = {"con", "prn", "aux", "nul", *(f"{kind}{number}" for kind in ("com", "lpt") for number in range(10))}
# What a name of a sysfs entry can hold: anything but a slash and NUL.
NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=12)


def opened(snapshot: Snapshot, prefix: str = "") -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(pack_zip(snapshot, prefix)))


def manifest(archive: zipfile.ZipFile, prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(archive.read(prefix + MANIFEST))
    return found


def rebuilt(archive: zipfile.ZipFile) -> Folder:
    """The snapshot's tree, from what is in the archive alone."""
    root = Folder("", 0o755)
    folders = {"": root}
    for entry in manifest(archive)["entries"]:
        above, _, name = entry["path"].rpartition("/")
        if entry["type"] == "dir":
            folders[entry["path"]] = Folder(name, int(entry["mode"], 8))
            folders[above].folders.append(folders[entry["path"]])
        elif entry["type"] == "link":
            folders[above].links.append((name, entry["target"]))
        else:
            folders[above].files.append((name, int(entry["mode"], 8), archive.read(entry["name"])))
    return root


@given(NAMES | st.sampled_from([*sorted(DEVICES), "CON.txt", "intel-rapl:0:1", "..", "100%", "%3A", "_x", "x."]))
def test_a_name_comes_back_by_percent_decoding_and_is_good_everywhere(name: str) -> None:
    safe = safe_name(name)
    assert unquote(safe, errors="strict") == name
    assert re.fullmatch(r"[A-Za-z0-9%-]([A-Za-z0-9._%-]*[A-Za-z0-9_%-])?", safe)
    assert safe.partition(".")[0].lower() not in DEVICES


def test_the_ids_of_zones_can_still_be_read() -> None:
    assert [safe_name(one) for one in ("intel-rapl:0:1", "energy_uj", "intel-rapl-mmio")] == [
        "intel-rapl%3A0%3A1",
        "energy_uj",
        "intel-rapl-mmio",
    ]


@pytest.mark.parametrize("machine", ["alderlake-p", "dtpm"])
def test_the_manifest_has_all_that_a_zip_cannot_hold(machine: str) -> None:
    snapshot = take_snapshot(Machine.from_profile(machine).sysfs)
    archive = opened(snapshot)
    assert rebuilt(archive) == snapshot.root
    found = {entry["path"]: entry["errno"] for entry in manifest(archive)["entries"] if "errno" in entry}
    assert found == {one.path: one.errno for one in snapshot.unreadable} != {}


def test_every_name_decodes_to_its_path_and_no_entry_is_a_folder_or_a_link() -> None:
    archive = opened(take_snapshot(Machine.from_profile("kabylake").sysfs), "test data/sys")
    entries = manifest(archive, "test%20data/sys/")["entries"]
    assert all(unquote(entry["name"]) == entry["path"] for entry in entries)
    files = {f"test%20data/sys/{entry['name']}" for entry in entries if entry["type"] == "file"}
    assert {one.filename for one in archive.infolist()} - files == {f"test%20data/sys/{MANIFEST}"}
    assert {one.external_attr >> 28 for one in archive.infolist()} == {0o10}
    assert {(one.date_time, one.compress_type, one.create_system) for one in archive.infolist()} == {
        ((1980, 1, 1, 0, 0, 0), zipfile.ZIP_STORED, 3)
    }


def test_flat_has_the_zones_in_the_archive_itself() -> None:
    snapshot = take_snapshot(Machine.from_profile("kabylake").sysfs)
    archive = opened(select(snapshot, Selection("flat")))
    assert archive.read("class/powercap/intel-rapl%3A0%3A0/name") == b"core\n"
    assert "link" not in {entry["type"] for entry in manifest(archive)["entries"]}


@pytest.mark.parametrize("names", [("energy_uj", "Energy_uj"), (MANIFEST, "a"), (MANIFEST.upper(), "a")])
def test_names_that_are_one_on_windows_are_refused(names: tuple[str, str]) -> None:
    snapshot = Snapshot(Folder("", 0o755, [(name, 0o444, b"") for name in names]), 2, ())
    with pytest.raises(ValueError, match="on Windows both are one name"):
        pack_zip(snapshot)
