# SPDX-License-Identifier: Apache-2.0
"""The exceptions of the witness: each is a line for a person that says what is not to be had, and what to do."""

from __future__ import annotations

__all__ = ["AbsentError", "WitnessError"]


class WitnessError(Exception):
    """One line: what is wrong, where, and what to do."""


class AbsentError(WitnessError):
    """What the witness is made of is not on this machine."""
