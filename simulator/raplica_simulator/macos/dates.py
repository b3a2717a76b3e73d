# SPDX-License-Identifier: Apache-2.0
"""Dates as macOS prints them: in English whatever the language, and in UTC here."""

import time
from datetime import UTC, datetime

__all__ = ["FIRST_BOOT_NS", "date_of", "print_date"]

#: When a machine was switched on whose time is not tied to anybody's: 10 November 2023, 08:43:28 UTC.
FIRST_BOOT_NS = 1_699_605_808_000_000_000
_NS_PER_S = 10**9


def print_date(moment_ns: int, *, zone: bool) -> str:
    """A moment in ns since 1970 as "Fri Nov 10 08:43:28 2023", and with ``zone`` " +0000" behind it."""
    text = time.asctime(time.gmtime(moment_ns // _NS_PER_S))
    return f"{text} +0000" if zone else text


def date_of(moment_ns: int) -> datetime:
    """The moment as a plist has it, which knows whole seconds and no time zone but UTC."""
    return datetime.fromtimestamp(moment_ns // _NS_PER_S, UTC).replace(tzinfo=None)
