# SPDX-License-Identifier: Apache-2.0
"""One of the processes that read: a program, started as ``python -I -S reader.py TASK``, TASK being JSON.

It reads a counter so many times in one way and judges every value; at the end it prints what it saw as one JSON
document.  Standard library only, so that it starts fast and takes little from the processors.
"""

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from errno import errorcode
from fractions import Fraction
from pathlib import Path

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from soak.counting import Course, Judge

__all__ = ["WAYS", "Reader"]

_EXAMPLES = 5
_ENOUGH = 1000  # who has seen so many faults need not go on

# Number of read calls made, when the one that fetched the value began and ended, and the whole text.
_Reading = tuple[int, int, int, bytes]


class Reader:
    """Reads one file in one way.

    Attributes:
        faults: how many values were wrong, by what was wrong with them.
        examples: the first few of them, in words.
    """

    def __init__(self, way: str, path: str, register: int, unit_nj: int, range_uj: int, course: Course) -> None:
        """``register`` is where an msr device is read; ``unit_nj`` and ``range_uj`` are what sysfs counts by."""
        self.faults: Counter[str] = Counter()
        self.examples: list[str] = []
        self._path = path
        self._register = register
        self._unit_nj = unit_nj
        self._range_uj = range_uj
        self._way = WAYS[way]
        self._raw = self._from_device if way.startswith("msr") else self._from_text
        self._judge = Judge(course)

    def run(self, reads: int) -> dict[str, object]:
        """Make at least so many read calls and say what came of them."""
        done = values = longest_ns = 0
        for count, before_ns, after_ns, data in self._way(self._path, self._register):
            done += count
            values += 1
            longest_ns = max(longest_ns, after_ns - before_ns)
            wrong = self._look(data, before_ns, after_ns)
            if wrong:
                self.faults[wrong] += 1
                if len(self.examples) < _EXAMPLES:
                    self.examples.append(f"{self._path}: {wrong}: value {values} is {data!r}")
            if done >= reads or self.faults.total() >= _ENOUGH:
                break
        return {
            "reads": done,
            "values": values,
            "wraps": self._judge.wraps,
            "unsure": self._judge.unsure,
            "longest_ns": longest_ns,
            "faults": dict(self.faults),
            "examples": self.examples,
        }

    def _look(self, data: bytes, before_ns: int, after_ns: int) -> str:
        if not data:
            return "empty"
        raw = self._raw(data)
        return "torn" if raw is None else self._judge.judge(raw, before_ns, after_ns)

    def _from_text(self, text: bytes) -> int | None:
        """The raw counter behind microjoules, which the driver rounds down; None for what is no such number."""
        digits = text[:-1]
        if text[-1:] != b"\n" or not digits.isdigit() or (digits[:1] == b"0" and digits != b"0"):
            return None
        energy_uj = int(digits)
        return None if energy_uj > self._range_uj else -(-energy_uj * 1000 // self._unit_nj)

    def _from_device(self, word: bytes) -> int | None:
        """The counter in a register, whose high half is 0."""
        raw = int.from_bytes(word, "little")
        return raw if len(word) == 8 and raw >> 32 == 0 else None


def _by_pread(path: str, offset: int) -> Iterator[_Reading]:
    """From a descriptor that is kept open."""
    size = 8 if offset else 64
    file = os.open(path, os.O_RDONLY)
    clock, pread = time.monotonic_ns, os.pread
    try:
        while True:
            before_ns = clock()
            data = pread(file, size, offset)
            yield 1, before_ns, clock(), data
    finally:
        os.close(file)


def _by_open(path: str, _: int) -> Iterator[_Reading]:
    """By open, read and close."""
    clock = time.monotonic_ns
    while True:
        file = os.open(path, os.O_RDONLY)
        try:
            before_ns = clock()
            data = os.read(file, 4096)
            after_ns = clock()
        finally:
            os.close(file)
        yield 1, before_ns, after_ns, data


def _by_bytes(path: str, _: int) -> Iterator[_Reading]:
    """One byte at a time, up to the end; the value is that of the moment of the first byte."""
    file = os.open(path, os.O_RDONLY)
    clock, read = time.monotonic_ns, os.read
    try:
        while True:
            os.lseek(file, 0, os.SEEK_SET)
            before_ns = clock()
            text = [read(file, 1)]
            after_ns = clock()
            while text[-1]:
                text.append(read(file, 1))
            yield len(text), before_ns, after_ns, b"".join(text)
    finally:
        os.close(file)


#: How a counter is read, by name: the path and the register (0 for an attribute) give readings without end.
WAYS: dict[str, Callable[[str, int], Iterator[_Reading]]] = {
    "pread": _by_pread,
    "open": _by_open,
    "bytes": _by_bytes,
    "msr": _by_pread,
}


def _main(task: dict[str, object]) -> None:
    reads = int(str(task.pop("reads")))
    course = Course(Fraction(str(task.pop("steps_per_ns"))), int(str(task.pop("grid_steps"))))
    reader = Reader(**task, course=course)  # type: ignore[arg-type]
    try:
        said = reader.run(reads)
    except OSError as error:
        said = {"faults": {errorcode[error.errno or 0]: 1}, "examples": [f"{task['path']}: {error}"]}
    with suppress(BrokenPipeError):
        sys.stdout.write(json.dumps(said))


if __name__ == "__main__":
    _main(json.loads(sys.argv[1]))
