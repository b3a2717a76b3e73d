# SPDX-License-Identifier: Apache-2.0
"""Which simulated Windows a run of the suite is about, and which it refuses."""

from __future__ import annotations

import pytest

from raplica_conformance.cli import main
from raplica_conformance.gather import GatherError, Request, gather
from raplica_conformance.subjects.windows import DEFAULT


def test_the_command_judges_a_named_windows_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended_with:
        main(["run", "windows.client.*", "--windows", "kabylake:v3.2", "--windows", "kabylake:v3.2"])
    assert ended_with.value.code == 0
    assert "9 clauses on 1 subject: 9 pass" in capsys.readouterr().out


def test_without_a_subject_each_kind_of_driver_is_judged() -> None:
    names = [one.name for one in gather(Request()).subjects]
    assert [name for name in names if name.startswith("windows:")] == [f"windows:{one}" for one in DEFAULT]
    assert not [one for one in gather(Request(kernel="6.12")).subjects if one.name.startswith("windows:")]


@pytest.mark.parametrize("wanted", ["kabylake", "kabylake:v9", "nowhere:v3.2", ""])
def test_a_windows_that_there_is_not_is_told_in_one_line(wanted: str) -> None:
    with pytest.raises(GatherError) as told_in:
        gather(Request(windows=(wanted,)))
    assert "\n" not in str(told_in.value)
    assert "MACHINE:DRIVER" in str(told_in.value) or "nowhere" in str(told_in.value)


def test_a_kernel_of_linux_is_refused_beside_a_windows_or_a_mac_alone() -> None:
    for request in (Request(windows=("kabylake:v3.2",), kernel="6.12"), Request(powermetrics=("x",), kernel="6.12")):
        with pytest.raises(GatherError, match="--kernel is one of Linux"):
            gather(request)
