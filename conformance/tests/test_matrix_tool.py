# SPDX-License-Identifier: Apache-2.0
"""The matrix: what is known of a tool: whether it is here, its version, and how a verdict is made again."""

import re
from pathlib import Path

import pytest

from raplica_conformance import matrix_tools
from raplica_conformance.matrix_tools import EVERYTHING, QUICK, TOOLS, Tool
from raplica_conformance.readers.adapter import adapter_ids, find_adapter
from raplica_fixtures.cases import case_ids

from .matrix_run import measure


def test_tools_have_adapters_and_the_quick_set_is_of_cases_that_there_are() -> None:
    assert {tool.name for tool in TOOLS} <= set(adapter_ids())
    assert set(QUICK) <= set(case_ids())
    for tool in TOOLS:
        assert tool.speaks_of <= EVERYTHING
        assert find_adapter(tool.name).plug().kind in ("stepped", "oneshot", "timed")


def test_a_tool_that_is_not_here_is_named_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = "https://example.org/thing"
    thing = Tool("scaphandre", "thing", program="no-such-program", home=home, is_tried=False)
    assert thing.missing == (
        f"no-such-program is not installed, and Debian has no package of it: {home}; the adapter is written from its "
        "documentation and has never met the program"
    )
    monkeypatch.setattr("raplica_conformance.matrix.tools_named", lambda _names: (thing,))
    assert measure(tools=("scaphandre",)) == 3
    assert f"   -  thing: {thing.missing}\n" in capsys.readouterr().out
    assert "apt-get install thing" in Tool("x", "x", program="no-such-program", distribution="thing").missing
    assert "RAPLICA_TOOLS_PYTHON" in Tool("x", "x", package="no_such_package", distribution="thing").missing


def test_a_verdict_is_made_again_by_the_matrix_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAPLICA_TOOLS_PYTHON", raising=False)
    case = "topology/all-sockets"
    assert Tool("my tool.toml", "x").again(case) == f"conformance matrix 'my tool.toml' --case {case}"
    monkeypatch.setenv("RAPLICA_TOOLS_PYTHON", "/opt/my tools/bin/python")
    assert Tool("rdmsr", "x").again(case) == f"conformance matrix rdmsr --case {case}"
    assert Tool("perun", "x", package="perun").again(case) == (
        f"RAPLICA_TOOLS_PYTHON='/opt/my tools/bin/python' conformance matrix perun --case {case}"
    )


def test_a_driver_is_asked_once_whether_its_tool_is_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAPLICA_PAPI", str(tmp_path / "none"))
    matrix_tools._asked.cache_clear()
    tool = Tool("papi", "PAPI", driver="papi")
    assert tool.missing.endswith("none: cannot open shared object file: No such file or directory")
    assert tool.version_here() == ""
    assert tool.missing == tool.missing
    assert matrix_tools._asked.cache_info().misses == 1
    matrix_tools._asked.cache_clear()
    monkeypatch.setattr(matrix_tools, "_ASK_S", 0)
    assert tool.missing.startswith("papi cannot be asked for its version: ")
    matrix_tools._asked.cache_clear()


def test_the_version_of_a_tool_is_the_first_number_that_it_prints(tmp_path: Path) -> None:
    path = tmp_path / "thing"
    path.write_text("#!/bin/sh\necho thing v3, release 1.5.0-rc1\n")
    path.chmod(0o755)
    assert Tool("x", "x", program=str(path), distribution="thing").version_here() == "1.5.0"
    assert Tool("x", "x", program=str(tmp_path / "none"), distribution="no-such-thing").version_here() == ""
    assert Tool("x", "x").version_here() == ""
    assert re.fullmatch(r"\d+(\.\d+)+", Tool("x", "x", package="click", distribution="click").version_here())
