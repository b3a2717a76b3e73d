# SPDX-License-Identifier: Apache-2.0
"""Libraries of others, as they come from PyPI, judged by the command `conformance matrix`."""

import json
import os
from pathlib import Path

import pytest

from raplica_conformance.matrix import MatrixOptions, run_matrix
from raplica_simulator.surfaces import namespace

PYTHON = Path(__file__).resolve().parents[2] / ".tox" / "clients" / "bin" / "python"
LIBRARIES = {"codecarbon": "codecarbon", "pyjoules": "pyJoules", "pyrapl": "pyRAPL"}
#: One of two packages wraps: codecarbon knows what a wrap is, and says nothing of packages one by one.
CASE = "arithmetic/only-one-socket-wraps"
VERDICTS = {"codecarbon": "pass", "pyjoules": "fail", "pyrapl": "fail"}

pytestmark = pytest.mark.slow


@pytest.fixture
def python() -> str:
    """The Python that has them; none is a failure where `.ci/run` has said that they are there."""
    packages = {path.name for path in PYTHON.parent.parent.glob("lib/python*/site-packages/*")}
    missing = sorted(set(LIBRARIES.values()) - packages)
    if missing and set(missing) & set(os.environ.get("RAPLICA_CLIENTS", "").split()):
        pytest.fail(f"RAPLICA_CLIENTS names them, and they are not there: {', '.join(missing)}")
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}: docs/clients.md says how, or .ci/run")
    return str(PYTHON)


def test_libraries_are_judged_by_what_they_claim(
    python: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if (obstacle := namespace.obstacle()) is not None:
        pytest.skip(f"no machine can be put into place here: {obstacle}")
    monkeypatch.setenv("RAPLICA_TOOLS_PYTHON", python)
    assert run_matrix(MatrixOptions(tools=tuple(LIBRARIES), cases=(CASE,), as_json=True)) == 0
    document = json.loads(capsys.readouterr().out)
    assert {one["tool"]: one["verdict"] for one in document["results"]} == VERDICTS
    assert all(tool["version"] and not tool["not_run"] for tool in document["tools"])
    (reason,) = {one["reason"] for one in document["results"] if one["tool"] == "pyjoules"}
    assert "it says -" in reason
    again = {one["again"] for one in document["results"]}
    assert f"RAPLICA_TOOLS_PYTHON={python} conformance matrix pyjoules --case {CASE}" in again
