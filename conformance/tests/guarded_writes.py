# SPDX-License-Identifier: Apache-2.0
"""Writing to a machine that somebody uses, for tests: which ones there are, and what is refused or written."""

from pathlib import Path
from typing import Any

import pytest

from raplica_conformance.clause import ClauseSkipped

HERE = Path(__file__).parent
ZONE = "devices/virtual/powercap/intel-rapl/intel-rapl:0"
LIMIT = f"{ZONE}/constraint_0_power_limit_uw"
SWITCH = f"{ZONE}/enabled"


def odd(name: str) -> str:
    return str(HERE / "machines" / f"{name}.toml")


def refused(subject: Any, path: str, data: bytes) -> str:
    """Why a write is skipped."""
    with pytest.raises(ClauseSkipped) as ended:
        subject.write(path, data)
    return str(ended.value)


def refused_register(subject: Any, register: int, value: int) -> str:
    with pytest.raises(ClauseSkipped) as ended:
        subject.msr_write(0, register, value)
    return str(ended.value)


def writes(patient: Any) -> list[str]:
    """The paths that are written from here on."""
    paths: list[str] = []

    def look(what: str, detail: Any) -> None:
        if what == "write":
            paths.append(detail[0])

    patient.watch = look
    return paths
