# SPDX-License-Identifier: Apache-2.0
"""A run of the matrix for tests, and two cases for it."""

from typing import Any

from raplica_conformance.matrix import MatrixOptions, run_matrix

TWO = ("arithmetic/one-wrap", "topology/package-alone")


def measure(**options: Any) -> int:
    return run_matrix(MatrixOptions(**options))
