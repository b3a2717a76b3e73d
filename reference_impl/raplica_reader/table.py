# SPDX-License-Identifier: Apache-2.0
"""Figures and tables for people."""

from collections.abc import Sequence

__all__ = ["joules", "lines", "seconds", "watts"]


def seconds(duration_ns: int) -> float:
    """Seconds for a person or a document; only printed, never counted with."""
    return duration_ns / 1_000_000_000


def joules(energy_uj: int | None) -> str:
    """Joules to the microjoule, without a float; "-" where unknown."""
    return "-" if energy_uj is None else f"{energy_uj // 1_000_000}.{energy_uj % 1_000_000:06d}"


def watts(power_w: float | None) -> str:
    """Watts to the milliwatt; "-" where unknown."""
    return "-" if power_w is None else f"{power_w:.3f}"


def lines(rows: Sequence[Sequence[str]]) -> list[str]:
    """Set rows under their headings; a heading that begins with > sets its column to the right."""
    headings = [heading.removeprefix(">") for heading in rows[0]]
    right = [heading.startswith(">") for heading in rows[0]]
    cells = [headings, *rows[1:]]
    widths = [max(len(line[column]) for line in cells) for column in range(len(headings))]
    return [
        "  ".join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in cells
    ]
