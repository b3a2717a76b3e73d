# SPDX-License-Identifier: Apache-2.0
"""Whole files or none: a report that breaks off in the middle looks like a shorter run."""

import os
from pathlib import Path

__all__ = ["write_text"]


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 beside `path` and rename it into place; OSError leaves the old file as it was.

    What UTF-8 cannot hold (a file name of undecodable bytes) is written as an escape.
    """
    import tempfile

    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
            file.write(text)
            # mkstemp makes files for their owner alone; a report is for everybody whom the umask allows.
            umask = os.umask(0)
            os.umask(umask)
            os.fchmod(file.fileno(), 0o666 & ~umask)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
