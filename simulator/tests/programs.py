# SPDX-License-Identifier: Apache-2.0
"""Programs of other people that tests here run: compilers and umockdev, from Debian's packages."""

import os
import shutil

import pytest

__all__ = ["find_program"]


def find_program(name: str, package: str) -> str:
    """Its path; without it the test is skipped, or fails where ``.ci/run`` said in RAPLICA_CLIENTS that it is there."""
    path = shutil.which(name)
    if path is None:
        reason = f"{name} is not installed: apt-get install {package}"
        if name in os.environ.get("RAPLICA_CLIENTS", "").split():
            pytest.fail(f"RAPLICA_CLIENTS names it, and {reason}")
        pytest.skip(reason)
    return path
