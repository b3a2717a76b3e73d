# SPDX-License-Identifier: Apache-2.0
"""The snippets in docs/examples load what `raplica generate` wrote: in Go, Rust, C and Python, the same numbers."""

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from raplica_simulator import Machine
from raplica_simulator.cli import cli

from .programs import find_program

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"
MANUAL = EXAMPLES.parent / "generate.md"

# A compiler each time: the quick set of the other Pythons leaves them out.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def zones() -> str:
    """What each of them prints: every zone with its energy."""
    machine = Machine.from_profile("kabylake")
    ids = sorted(one for one in machine.sysfs.listdir("class/powercap") if ":" in one)
    return "".join(f"{one} {machine.sysfs.read(f'class/powercap/{one}/energy_uj').decode()}" for one in ids)


def written(*arguments: str | Path) -> Path:
    """A fixture of kabylake, which the first argument names."""
    result = CliRunner().invoke(cli, ["generate", "kabylake", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return Path(arguments[0])


def printed(*command: str | Path) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_go_snippet_loads_a_zip(tmp_path: Path, zones: str) -> None:
    archive = written(tmp_path / "kabylake.zip", "--format", "zip", "--layout", "flat")
    assert printed(find_program("go", "golang-go"), "run", EXAMPLES / "load_fixture.go", archive) == zones


def test_the_rust_snippet_loads_a_tree(tmp_path: Path, zones: str) -> None:
    program = tmp_path / "load_fixture"
    printed(
        find_program("rustc", "rustc"),
        "--edition",
        "2021",
        "-D",
        "warnings",
        "-o",
        program,
        EXAMPLES / "load_fixture.rs",
    )
    assert printed(program, written(tmp_path / "sys")) == zones


def test_the_c_snippet_loads_a_tree(tmp_path: Path, zones: str) -> None:
    program = tmp_path / "load_fixture"
    printed(find_program("cc", "gcc"), "-Wall", "-Wextra", "-Werror", "-o", program, EXAMPLES / "load_fixture.c")
    assert printed(program, written(tmp_path / "sys")) == zones


def test_the_python_snippet_loads_a_recording_and_raises_its_errors(tmp_path: Path, zones: str) -> None:
    recording = written(tmp_path / "kabylake.json", "--format", "recording")
    assert printed(sys.executable, "-I", "-S", EXAMPLES / "load_fixture.py", recording) == zones
    names: dict[str, object] = {}
    exec(compile((EXAMPLES / "load_fixture.py").read_text(), "load_fixture.py", "exec"), names)  # noqa: S102 - ours
    load, read = names["load"], names["read"]
    assert callable(load)
    assert callable(read)
    silent = "devices/virtual/powercap/intel-rapl/intel-rapl:1/constraint_0_max_power_uw"
    with pytest.raises(OSError, match="No data available"):
        read(load(recording), silent)


@pytest.mark.parametrize(
    ("example", "begin"), [("go", "// load"), ("rs", "/// The"), ("c", "/* Print"), ("py", "def load")]
)
def test_the_manual_shows_the_snippets_as_they_are(example: str, begin: str) -> None:
    text = (EXAMPLES / f"load_fixture.{example}").read_text(encoding="utf-8")
    core = text[text.index(begin) :]
    end = {"go": "\n}\n", "rs": "\n}\n", "c": "\n}\n", "py": "\n\n\nif __name__"}[example]
    core = core[: core.index(end) + (0 if example == "py" else len(end))].strip()
    assert f"\n{core}\n" in MANUAL.read_text(encoding="utf-8")
