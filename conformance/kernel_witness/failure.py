# SPDX-License-Identifier: Apache-2.0
"""The exceptions of the witness: each is a line for a person that says what is not to be had, and what to do."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["StepError", "WitnessError", "run"]


class WitnessError(Exception):
    """One line: what is wrong, where, and what to do."""


class StepError(WitnessError):
    """A step could not be done: booting again would not help."""


def run(
    command: Sequence[str], what: str, cwd: Path | None = None, environment: Mapping[str, str] | None = None
) -> str:
    """Run a command and return its output; `WitnessError` with `what` and its last line where it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, check=False)
    except FileNotFoundError:
        raise WitnessError(f"{what}: {command[0]} is not on this machine; install it") from None
    if done.returncode:
        told = (done.stderr.strip() or done.stdout.strip() or f"exit status {done.returncode}").splitlines()
        worst = next((line for line in told if line.startswith("E:") or "error" in line.lower()), told[-1])
        raise WitnessError(f"{what}: {worst}")
    return done.stdout
