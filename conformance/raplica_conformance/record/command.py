# SPDX-License-Identifier: Apache-2.0
"""The command `record`, whoever parsed its arguments: check them, record, write the file, say what is in it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from raplica_conformance.printable import printable
from raplica_conformance.record.places import places_below
from raplica_conformance.record.recorder import Bar, NothingToRecordError, Wishes, record, save
from raplica_conformance.record.telling import told
from raplica_fixtures.recording import RecordingError

__all__ = ["WrongRequestError", "record_to"]

_ENDINGS = (".json", ".json.gz", ".json.xz")


class WrongRequestError(ValueError):
    """What was asked for cannot be done: one line that says what would be right."""


@contextmanager
def _silent(_what: str) -> Iterator[Callable[[float], None]]:
    yield lambda _part: None


def record_to(
    out: str,
    wishes: Wishes,
    *,
    sysfs: str | None = None,
    dev: str | None = None,
    proc: str | None = None,
    quiet: bool = False,
    bar: Bar = _silent,
) -> int:
    """Record into a file, or `-` for stdout; the exit status. WrongRequestError before anything is looked at."""
    _check(out, {"--sysfs": sysfs, "--dev": dev, "--proc": proc})
    if not wishes.load_seconds >= 0:
        raise WrongRequestError(f"--load-seconds {wishes.load_seconds}: is no number of seconds")
    try:
        found = record(places_below(sysfs, dev, proc), wishes, _silent if quiet else bar)
        size = save(found, out)
    except NothingToRecordError as error:
        return _failed(str(error))
    except RecordingError as error:
        # What was seen has no place in the format: a line for the report that we want to get.
        return _failed(f"what was seen does not fit a recording: {error}")
    except ValueError as error:
        raise WrongRequestError(str(error)) from error
    if not quiet:
        for line in (*told(found), f"{'stdout' if out == '-' else out}: {size} bytes"):
            _say(line)
    return 0


def _check(out: str, folders: dict[str, str | None]) -> None:
    for option, folder in folders.items():
        if folder is not None and not Path(folder).is_dir():
            raise WrongRequestError(f"{option} {folder}: is no directory")
    if out == "-":
        return
    if not out.endswith(_ENDINGS):
        raise WrongRequestError(f"-o {out}: must end in one of {', '.join(_ENDINGS)}")
    if not Path(out).parent.is_dir():
        raise WrongRequestError(f"-o {out}: the folder {Path(out).parent} does not exist; make it first")


def _failed(reason: str) -> int:
    _say(f"conformance record: {reason}")
    return 3


def _say(line: str) -> None:
    sys.stderr.write(f"{printable(line)}\n")
