# SPDX-License-Identifier: Apache-2.0
"""One reading out of what a reader said of a domain, whichever way it said it: everything is looked at here, once.

Readers say all kinds of things: true, numbers of a hundred digits, an error of a megabyte. What comes through can be
calculated with, printed and written into a report; all else is the reader's fault, and never breaks the suite.
"""

from typing import Any

from raplica_conformance.readers.plug import STATUSES, ReaderFault, Reading

__all__ = ["MOST_UJ", "SHOWN", "clipped", "reading_from"]

#: Energies from here on are none: a gigawatt since the beginning of the universe is 4e32 uJ. Floats, in which errors
#: are told, hold sums of them without overflow.
MOST_UJ = 1 << 127

#: How many characters of what a reader says are shown to a person.
SHOWN = 120


def reading_from(zone: str, energy_uj: Any, status: Any = None, error: Any = None) -> Reading:
    """What was said of a zone, as a reading; a status that is left out follows from the rest.

    ReaderFault in one line for an energy that is no whole number of microjoules, or too large to be one, and for a
    status that is none.
    """
    if energy_uj is not None and type(energy_uj) is not int:
        raise ReaderFault(f"of {clipped(zone)} it says {clipped(energy_uj)}: whole microjoules or null are wanted")
    if energy_uj is not None and abs(energy_uj) >= MOST_UJ:
        # Without the number: Python refuses to print one that is large enough.
        raise ReaderFault(f"of {clipped(zone)} it says an energy of {energy_uj.bit_length()} bits, which is none")
    if status is None:
        status = "ok" if energy_uj is not None else "error" if error else "unknown"
    if not isinstance(status, str) or status not in STATUSES:
        raise ReaderFault(f"of {clipped(zone)} it says the status {clipped(status)}: {', '.join(STATUSES)} are known")
    return Reading(energy_uj, status, clipped(error) if error else None)


def clipped(said: Any) -> str:
    """What a reader said, as the middle of a line: short, without line breaks and what does not print."""
    text = said[: SHOWN + 1] if isinstance(said, str) else _text(said)
    line = "".join(letter if letter.isprintable() else " " for letter in text).strip()
    return f"{line[: SHOWN - 3]}..." if len(line) > SHOWN else line


def _text(said: object) -> str:
    """The text of anything; what it is where it has none."""
    try:
        return str(said)
    except Exception:  # noqa: BLE001 - thousands of digits or brackets; a reader in this process has types of its own
        return f"something of type {type(said).__name__}"
