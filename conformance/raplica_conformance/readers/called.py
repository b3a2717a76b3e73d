# SPDX-License-Identifier: Apache-2.0
"""The plug for readers in this process: a Python function that is given a machine and a clock.

`function(tree, clock)` returns something with `sample()` and `answer()`. `tree` answers `listdir`, `readlink` and
`read` for paths below /sys, and has the other doors beside it (`doors.MachineTree`); `clock()` is the machine's time in
nanoseconds. An answer is a mapping of zone ids, paths or "total" to microjoules since the first sample: a whole number,
None where that is unknown, or an object with `energy_uj`, `status` and `error`.
"""

import importlib
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from raplica_conformance.readers.plug import Answer, ReaderFault, Reading, Stage
from raplica_conformance.readers.reading import clipped, reading_from

__all__ = ["CalledPlug", "find_function"]

#: What a function of somebody else may raise; KeyboardInterrupt and the judge's alarm are not its own.
_THEIRS = (Exception, SystemExit, GeneratorExit)


@dataclass(frozen=True, slots=True)
class CalledPlug:
    """A reader made by a function of this process."""

    name: str
    function: Callable[..., Any]
    interfaces: frozenset[str] = frozenset({"powercap"})
    limit_s: float = 20.0
    kind: str = "callable"
    counter: bool = False

    def open(self, stage: Stage) -> "_Called":
        """Call the function."""
        with _blamed("it cannot be made"):
            return _Called(self.function(stage.tree, stage.now_ns))
        raise AssertionError  # pragma: no cover - the line above returned or raised

    def close(self) -> None:
        """Nothing is kept."""


class _Called:
    """A reader in this process."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader

    def sample(self) -> None:
        with _blamed("sample()"):
            self._reader.sample()

    def answer(self) -> Answer:
        with _blamed("answer()"):
            return reading_of(self._reader.answer())
        raise AssertionError  # pragma: no cover - as above

    def close(self) -> None:
        reader, self._reader = self._reader, None
        with _blamed("close()"):
            if (close := getattr(reader, "close", None)) is not None:
                close()


def find_function(name: str) -> Callable[..., Any]:
    """The function of "module:function". ValueError in one line where there is none."""
    module, _, function = name.partition(":")
    try:
        found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    except _THEIRS as error:
        # Importing runs the module, which may do anything: a mistake in it, a sys.exit, an error of its own.
        kind = "" if isinstance(error, ImportError | AttributeError) else f"{type(error).__name__}: "
        raise ValueError(f"{name}: cannot be imported: {kind}{clipped(error)}") from error
    if callable(found):
        return found
    raise ValueError(f"{name}: is not a function")


def reading_of(answer: Any) -> Answer:
    """The answer as readings; ReaderFault for what is none."""
    if not isinstance(answer, Mapping):
        kind = type(answer).__name__
        # A mistake of the reader's, and not of who calls this.
        raise ReaderFault(f"it answers {kind}, and not a mapping of zones to microjoules")
    return {str(key): _reading(str(key), value) for key, value in answer.items()}


def _reading(key: str, value: Any) -> Reading:
    if value is None or type(value) is int:
        return reading_from(key, value)
    said = (getattr(value, name, None) for name in ("status", "error"))
    return reading_from(key, getattr(value, "energy_uj", value), *said)


class _blamed:  # noqa: N801 - reads as what it does, and is this module's alone
    """What is raised inside is the reader's fault; what stops the suite itself goes on."""

    def __init__(self, doing: str) -> None:
        self._doing = doing

    def __enter__(self) -> None:
        return

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, _THEIRS) and not isinstance(error, ReaderFault):
            last = traceback.extract_tb(trace)[-1]
            where = f"{last.filename.rpartition('/')[2]}:{last.lineno}"
            raise ReaderFault(f"{self._doing}: it raised {type(error).__name__}: {clipped(error)} ({where})") from error
