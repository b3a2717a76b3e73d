# SPDX-License-Identifier: Apache-2.0
"""`conformance record`: where a machine is read."""

import subprocess
import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

import raplica_conformance
import raplica_fixtures
from raplica_conformance.record.places import Places, one_line, places_below


def test_all_of_it_runs_with_the_standard_library_alone() -> None:
    ours = [str(Path(module.__file__ or "").parents[1]) for module in (raplica_conformance, raplica_fixtures)]
    script = f"import sys; sys.path[:0] = {ours}; import raplica_conformance.record; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in ran.stdout.split()} - sys.stdlib_module_names - {"__main__"}
    assert loaded == {"raplica_conformance", "raplica_fixtures"}


def test_this_machines_places_are_its_own_and_a_trees_are_those_beside_it(tmp_path: Path) -> None:
    assert places_below() == Places(Path("/sys"), Path("/dev"), Path("/proc"), own=True)
    assert places_below("/sys", proc="/elsewhere").proc == Path("/elsewhere")
    (tmp_path / "sys").mkdir()
    assert places_below(str(tmp_path / "sys")) == Places(tmp_path / "sys", None, None, own=False)
    (tmp_path / "dev").mkdir()
    assert places_below(str(tmp_path / "sys")).dev == tmp_path / "dev"
    assert places_below(str(tmp_path / "sys"), str(tmp_path)).dev == tmp_path
    # Beside a folder of the root directory lie the host's own devices.
    assert places_below("/etc").dev is None


@given(st.text())
def test_a_line_has_no_control_characters_and_single_spaces(text: str) -> None:
    line = one_line(text)
    assert not any(ord(letter) < 0x20 or ord(letter) == 0x7F for letter in line)
    assert "  " not in line
    assert one_line(line) == line
