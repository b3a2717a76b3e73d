# SPDX-License-Identifier: Apache-2.0
"""Starting the command as other people start it: installed, copied, without root, into a pipe, in a hurry."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import raplica_reader

if TYPE_CHECKING:
    from tests.conftest import Tree

PACKAGE = Path(raplica_reader.__file__).parent


def python(*argv: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run this Python and tell how it went."""
    command = [sys.executable, *map(str, argv)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def as_nobody(powerless: str, argv: list[str]) -> subprocess.CompletedProcess[str]:
    """Run the command twice, with its output thrown away and then without root.

    The first time loads all modules, which may lie where only root may read.
    """
    code = f"""if True:
        import contextlib, io, sys
        sys.path.insert(0, {str(PACKAGE.parent)!r})
        from raplica_reader import cli
        def run(): return cli.main({argv!r}, sleep=lambda _: None)
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            run()
        {powerless}
        sys.exit(run())
    """
    return python("-c", code)


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The reader's folder as somebody copies it to a server, beside a file that nobody should import."""
    folder = tmp_path / "somewhere/raplica_reader"
    shutil.copytree(PACKAGE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder.parent / "argparse.py").write_text("raise SystemExit('imported from beside the folder')\n")
    return folder


def test_a_copied_folder_is_started_by_its_path(copied: Path, client: Tree, tmp_path: Path) -> None:
    done = python("-I", "-S", copied, "list", "--json", "--sysfs", client.root, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(json.loads(done.stdout)["zones"]) == 6


def test_a_copied_folder_is_a_module_for_a_python_in_the_directory_above(copied: Path, client: Tree) -> None:
    (copied.parent / "argparse.py").unlink()
    done = python("-S", "-m", "raplica_reader", "list", "--sysfs", client.root, cwd=copied.parent)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_folder_says_which_python_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 2, "final", 0))
    with pytest.raises(SystemExit, match=r"needs Python 3\.11 or newer; this is 3\.9"):
        runpy.run_path(str(PACKAGE / "__main__.py"))


@pytest.mark.parametrize("command", ["list", "read"])
def test_without_root_every_zone_is_reported_and_one_line_says_what_to_do(
    client: Tree, powerless: str, command: str
) -> None:
    done = as_nobody(powerless, [command, "--json", "--sysfs", str(client.root)])
    assert done.returncode == 3
    zones = json.loads(done.stdout)["zones"]
    assert [zone["error"] for zone in zones] == ["EACCES"] * 6
    assert [zone["energy_uj"] for zone in zones] == [None] * 6
    assert [zone["path"] for zone in zones][:2] == ["package-0", "package-0/core"]
    assert done.stderr == (
        "raplica-reader: energy of 6 of 6 zones is unknown (EACCES): run as root: "
        f"{client.root}/class/powercap/*/energy_uj is closed to others, since it reveals what programs compute\n"
    )


def test_without_root_one_readable_zone_is_read(client: Tree, powerless: str) -> None:
    (client.path("intel-rapl:1") / "energy_uj").chmod(0o444)
    done = as_nobody(powerless, ["list", "--sysfs", str(client.root)])
    assert done.returncode == 0
    assert "energy of 5 of 6 zones is unknown (EACCES)" in done.stderr


def test_nobody_reading_the_output_is_no_traceback(client: Tree) -> None:
    code = f"import sys; sys.path.insert(0, {str(PACKAGE.parent)!r}); from raplica_reader import cli; "
    code += f"sys.exit(cli.main(['list', '--json', '--sysfs', {str(client.root)!r}]))"
    gone, pipe = os.pipe()
    os.close(gone)
    with os.fdopen(pipe, "w") as stdout:
        done = subprocess.run([sys.executable, "-c", code], stdout=stdout, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (141, b"")


def test_an_output_that_takes_nothing_is_one_line(client: Tree) -> None:
    command = [sys.executable, str(PACKAGE), "list", "--sysfs", str(client.root)]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (3, "raplica-reader: the output cannot be written (ENOSPC)\n")


def test_starting_loads_nothing_that_is_not_needed(client: Tree) -> None:
    code = f"import sys; sys.path.insert(0, {str(PACKAGE.parent)!r}); from raplica_reader import cli; "
    code += f"cli.main(['list', '--sysfs', {str(client.root)!r}]); print(*sorted(sys.modules))"
    loaded = set(python("-I", "-S", "-c", code).stdout.splitlines()[-1].split())
    assert "raplica_reader.cli" in loaded
    assert not loaded & {"asyncio", "ctypes", "decimal", "fractions", "json", "logging", "pathlib", "subprocess"}


@pytest.mark.parametrize(
    ("closed", "argv", "status", "err"),
    [
        ("<&-", ["stepped"], 0, ""),
        (">&-", ["list"], 3, "raplica-reader: the output cannot be written (EBADF): it is closed\n"),
        ("2>&-", ["list", "--json", "--sysfs", "/nonexistent"], 3, ""),
        ("2>/dev/full", ["list", "--sysfs", "/nonexistent"], 3, ""),
    ],
)
def test_a_stream_that_is_closed_or_full_is_no_traceback(
    client: Tree, closed: str, argv: list[str], status: int, err: str
) -> None:
    place = [] if "--sysfs" in argv else ["--sysfs", str(client.root)]
    command = ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, str(PACKAGE), *argv, *place]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (status, err)
    if "--json" in argv:
        assert json.loads(done.stdout)["zones"] == []
