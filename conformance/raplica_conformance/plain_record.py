# SPDX-License-Identifier: Apache-2.0
"""`record` of `plain`: a running machine as one file, without click and without a bar."""

import argparse
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from raplica_conformance import record
from raplica_conformance.gathered import GatherError
from raplica_conformance.printable import printable
from raplica_fixtures.recording import RecordingError

__all__ = ["record_machine"]

_ENDINGS = (".json", ".json.gz", ".json.xz")


def record_machine(asked: argparse.Namespace) -> int:
    """Record what the arguments name; the exit status. GatherError, in one line, for what was asked in a wrong way."""
    for option in ("sysfs", "dev", "proc"):
        folder = getattr(asked, option)
        if folder is not None and not Path(folder).is_dir():
            raise GatherError(f"--{option} {folder}: is no directory")
    if asked.output != "-":
        if not asked.output.endswith(_ENDINGS):
            raise GatherError(f"-o {asked.output}: must end in one of {', '.join(_ENDINGS)}")
        if not Path(asked.output).parent.is_dir():
            raise GatherError(
                f"-o {asked.output}: the folder {Path(asked.output).parent} does not exist; make it first"
            )
    wishes = record.Wishes(kernel=asked.kernel, load_seconds=asked.load_seconds, redact=not asked.no_redact)
    try:
        found = record.record(record.places_below(asked.sysfs, asked.dev, asked.proc), wishes, _silent)
        size = record.save(found, asked.output)
    except record.NothingToRecordError as error:
        return _tell(str(error), 3)
    except RecordingError as error:
        return _tell(f"what was seen does not fit a recording: {error}", 3)
    except ValueError as error:
        raise GatherError(str(error)) from error
    if not asked.quiet:
        place = "stdout" if asked.output == "-" else asked.output
        for line in (*record.told(found), f"{place}: {size} bytes"):
            sys.stderr.write(printable(line) + "\n")
    return 0


def _tell(line: str, status: int) -> int:
    sys.stderr.write(printable(f"conformance record: {line}") + "\n")
    return status


@contextmanager
def _silent(_what: str) -> Generator[Callable[[float], None], None, None]:
    yield lambda _part: None
