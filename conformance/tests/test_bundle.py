# SPDX-License-Identifier: Apache-2.0
"""One file to copy to a machine: made from this checkout, it needs python3 alone and says what the commands say."""

import importlib.util
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import pytest

import raplica_reader
from raplica_conformance import cli

ROOT = Path(__file__).resolve().parents[2]
RECORDING = ROOT / "fixtures" / "recordings" / "skx_2s-6.12.json.xz"


def script(name: str) -> ModuleType:
    """A script of the checkout, which lies in no package."""
    spec = importlib.util.spec_from_file_location(f"ci_{name}", ROOT / ".ci" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def bundle() -> ModuleType:
    return script("bundle")


@pytest.fixture(scope="module")
def pyz(bundle: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "raplica.pyz"
    bundle.write(path)
    return path


def alone(pyz: Path, *arguments: object, environment: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    """The file under a Python that looks at nothing else, with nothing in the environment."""
    ran = subprocess.run(
        [sys.executable, "-I", "-S", str(pyz), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        cwd=pyz.parent,
        env=dict(environment or {}),
    )
    return ran.returncode, ran.stdout, ran.stderr


def test_it_judges_a_tree_and_a_recording_as_the_command_does(
    pyz: Path, right_tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["run", "--tree", str(right_tree), "--recording", str(RECORDING), "--json"]
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    status, said, complaint = alone(pyz, *arguments)
    assert (status, complaint) == (ended.value.code, "")
    judged = json.loads(said)
    assert judged == json.loads(capsys.readouterr().out)
    assert judged["summary"]["pass"] > 100
    assert len({result["subject"] for result in judged["results"]}) == 2


def test_it_reads_a_tree_as_the_reader_does(pyz: Path, right_tree: Path) -> None:
    status, said, complaint = alone(pyz, "read", "--sysfs", right_tree, "--interval", "0.01", "--json")
    assert (status, complaint) == (0, "")
    assert "intel-rapl:0" in {zone["id"] for zone in json.loads(said)["zones"]}


def test_what_it_is_asked_wrongly_it_refuses_in_one_line(pyz: Path) -> None:
    status, said, complaint = alone(pyz, "run", "--tree", "missing")
    assert (status, said) == (2, "")
    assert complaint == "conformance: --tree missing: is no directory; name the root of a sysfs, like /sys\n"


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        ([], 2, "usage: raplica.pyz COMMAND"),
        (["--help"], 0, "usage: raplica.pyz COMMAND"),
        (["--version"], 0, f"conformance (raplica) {raplica_reader.__version__}\n"),
        (["run", "--help"], 0, "usage: raplica.pyz run"),
        (["list"], 0, "powercap.zone.name-newline"),
        (["explain", "powercap.zone.name-newline"], 0, "source"),
        (["read", "--help"], 0, "usage: raplica-reader read"),
        (["reader", "list", "--help"], 0, "usage: raplica-reader list"),
        (["bogus"], 2, "invalid choice: 'bogus'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_its_own_commands_lead_to_the_two(
    arguments: list[str], status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    # The script that begins the file, in this process.
    assert script("bundle_main").main(arguments) == status
    printed = capsys.readouterr()
    assert said in (printed.err if status else printed.out)
    assert (printed.out if status else printed.err) == ""


def test_its_help_names_every_command_of_the_loop_without_pytest() -> None:
    from raplica_conformance.plain_arguments import COMMANDS

    for command in COMMANDS:
        assert f"\n  {command} " in script("bundle_main").HELP


def test_the_same_checkout_gives_the_same_bytes(pyz: Path, bundle: ModuleType, tmp_path: Path) -> None:
    again = tmp_path / "deep" / "raplica.pyz"
    before = os.umask(0o077)
    try:
        assert bundle.write(again) > 100
    finally:
        os.umask(before)
    assert again.read_bytes() == pyz.read_bytes()
    assert again.stat().st_mode & 0o777 == 0o755
    assert [path.name for path in again.parent.iterdir()] == ["raplica.pyz"]


def test_nothing_in_it_is_of_this_machine_or_compressed(pyz: Path) -> None:
    archive = zipfile.ZipFile(pyz)
    for entry in archive.infolist():
        assert (entry.date_time, entry.compress_type) == ((1980, 1, 1, 0, 0, 0), zipfile.ZIP_STORED)
        assert str(ROOT).encode() not in archive.read(entry)
    tops = {name.partition("/")[0] for name in archive.namelist()}
    assert tops == {"LICENSE", "__main__.py", "raplica_conformance", "raplica_fixtures", "raplica_reader"}
    assert archive.namelist() == sorted(archive.namelist())


def test_a_module_that_needs_a_package_stops_the_build(
    bundle: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bundle, "BEGINNINGS", ("raplica_conformance.plain", "raplica_conformance.terminal"))
    assert bundle.main([str(tmp_path / "raplica.pyz")]) == 1
    told = capsys.readouterr().err
    assert told.startswith("bundle: raplica_conformance.terminal imports ")
    assert told.endswith(", and only the standard library is where the file goes\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("beginning", ["raplica_conformance.gone", "raplica_conformance.gone.*"])
def test_a_beginning_that_is_not_there_stops_the_build(
    beginning: str, bundle: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle, "BEGINNINGS", (beginning,))
    with pytest.raises(bundle.BundleError, match="gone"):
        bundle.modules()


def test_imports_are_followed_wherever_they_are_but_for_those_of_type_checkers(
    bundle: ModuleType, tmp_path: Path
) -> None:
    module = tmp_path / "module.py"
    module.write_text(
        "import os.path\nfrom json import decoder\n"
        "if TYPE_CHECKING:\n    import never\n"
        "try:\n    import zlib\nexcept ImportError:\n    pass\n"
        "def later():\n    import glob\n"
        "class Now:\n    import csv\n"
    )
    assert set(bundle.imported("module", module)) == {"os.path", "json", "json.decoder", "zlib", "glob", "csv"}
    module.write_text("from . import sibling\n")
    with pytest.raises(bundle.BundleError, match="relative name"):
        set(bundle.imported("module", module))


def test_one_file_has_to_be_named(bundle: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert bundle.main([]) == 2
    assert capsys.readouterr().err.count("\n") == 1
