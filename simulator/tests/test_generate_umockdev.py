# SPDX-License-Identifier: Apache-2.0
"""A snapshot as a device file of umockdev: what Debian's umockdev-run shows of it, attribute by attribute."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_simulator import Machine
from raplica_simulator.surfaces.selection import Selection, select
from raplica_simulator.surfaces.snapshot import Folder, Snapshot, take_snapshot
from raplica_simulator.surfaces.umockdev import pack_umockdev

from .programs import find_program

#: Prints every file and link below a folder, latin-1 for bytes.
LISTING = """
import json, os, sys
found = {}
for folder, folders, files in os.walk("/sys"):
    for name in files + folders:
        path = os.path.join(folder, name)
        if os.path.islink(path):
            found[path] = ["link", os.readlink(path)]
        elif name in files:
            found[path] = ["file", open(path, "rb").read().decode("latin-1")]
json.dump(found, sys.stdout)
"""


def run(tmp_path: Path, content: bytes, *command: str) -> str:
    """Run a command where the devices are, below /sys."""
    program = find_program("umockdev-run", "umockdev")
    device = tmp_path / "machine.umockdev"
    device.write_bytes(content)
    done = subprocess.run(
        [program, "--device", str(device), "--", *command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def listed(folder: Folder, above: str = "/sys/") -> Iterator[tuple[str, list[str]]]:
    """What a program should see of a snapshot; uevent files, which umockdev writes itself, are left out."""
    for name, _, content in folder.files:
        if name != "uevent":
            yield above + name, ["file", content.decode("latin-1")]
    for name, target in folder.links:
        yield above + name, ["link", target]
    for below in folder.folders:
        yield from listed(below, f"{above}{below.name}/")


def block(content: bytes, name: str = "value") -> Snapshot:
    """A snapshot of one device with one attribute."""
    device = Folder("it", 0o755, [(name, 0o444, content)], [("subsystem", "../../class/powercap")])
    return Snapshot(Folder("", 0o755, folders=[Folder("devices", 0o755, folders=[device])]), 1, ())


def device_of(snapshot: Snapshot) -> Folder:
    return snapshot.root.folders[0].folders[0]


def test_umockdev_run_shows_the_energy_of_a_package(tmp_path: Path) -> None:
    machine = Machine.from_profile("kabylake")
    energy = machine.sysfs.read("class/powercap/intel-rapl:0/energy_uj").decode()
    content = pack_umockdev(take_snapshot(machine.sysfs))
    assert run(tmp_path, content, "cat", "/sys/class/powercap/intel-rapl:0/energy_uj") == energy


def test_umockdev_run_shows_the_whole_snapshot(tmp_path: Path) -> None:
    snapshot = take_snapshot(Machine.from_profile("alderlake-p").sysfs)
    seen = json.loads(run(tmp_path, pack_umockdev(snapshot), sys.executable, "-I", "-S", "-c", LISTING))
    assert {path: what for path, what in seen.items() if not path.endswith("/uevent")} == dict(listed(snapshot.root))


def test_umockdev_run_shows_bytes_that_are_no_text_and_backslashes(tmp_path: Path) -> None:
    for content in (b"\x00\xff\n", b"a\\nb\\", b"\xc3\xa9\n", b""):
        packed = pack_umockdev(block(content))
        shown = run(tmp_path, packed, sys.executable, "-I", "-S", "-c", LISTING)
        assert json.loads(shown)["/sys/devices/it/value"] == ["file", content.decode("latin-1")]


def test_umockdev_run_shows_a_zone_whose_control_type_was_not_wanted(tmp_path: Path) -> None:
    snapshot = take_snapshot(Machine.from_profile("kabylake").sysfs)
    core = select(snapshot, Selection(zones=("intel-rapl:0:0",), attributes=("name",)))
    assert run(tmp_path, pack_umockdev(core), "cat", "/sys/class/powercap/intel-rapl:0:0/name") == "core\n"


@given(st.lists(st.sampled_from([b"\\", b"n", b"\n", b"\\n", b"=", b" ", b"\0", b"\xe9", b"1"]), max_size=6))
def test_an_attribute_is_one_line_from_which_the_content_comes_back(pieces: list[bytes]) -> None:
    content = b"".join(pieces)
    (line,) = pack_umockdev(block(content)).decode().splitlines()[2:]
    kind, _, text = line.partition(": value=")
    if kind == "H":
        assert bytes.fromhex(text) == content
    else:
        letters = {"\\\\": "\\", "\\n": "\n"}
        assert re.sub(r"\\[\\n]", lambda found: letters[found[0]], text).encode() == content
    assert (kind == "H") is any(byte in content for byte in (b"\0", b"\xe9"))


def test_a_device_keeps_the_properties_of_its_uevent() -> None:
    snapshot = block(b"1\n")
    device_of(snapshot).files.append(("uevent", 0o644, b"SUBSYSTEM=other\nDRIVER=intel_rapl\nno property\n"))
    assert pack_umockdev(snapshot).decode().splitlines()[:4] == [
        "P: /devices/it",
        "E: SUBSYSTEM=powercap",
        "E: DRIVER=intel_rapl",
        "A: value=1\\n",
    ]


@pytest.mark.parametrize("name", ["a=b", "a\nb", "a\\b", " a"])
def test_a_name_that_umockdev_would_misread_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="use --format tar"):
        pack_umockdev(block(b"1\n", name))


@pytest.mark.parametrize("name", ["a\nb", "a "])
def test_a_device_that_umockdev_would_misread_is_refused(name: str) -> None:
    snapshot = block(b"1\n")
    device_of(snapshot).name = name
    with pytest.raises(ValueError, match="use --format tar"):
        pack_umockdev(snapshot)


def test_a_snapshot_without_devices_is_an_empty_file() -> None:
    assert pack_umockdev(Snapshot(Folder("", 0o755), 0, ())) == b""
