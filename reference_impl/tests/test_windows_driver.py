# SPDX-License-Identifier: Apache-2.0
"""What a driver answers, and what it means: values, lengths, errors, and whether it is guarded."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from raplica_reader.processor import Processor
from raplica_reader.windows import DriverRegister, Scaphandre
from raplica_reader.windows_calls import Answer, LogicalProcessor
from raplica_reader.windows_driver import EIGHT, PATHS, DriverRegisters


class Scripted:
    """A driver with one answer, or a function of the request."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.opened: list[str] = []

    def create_file(self, path: str, *_: object) -> int:
        self.opened.append(path)
        return 4

    def close_handle(self, handle: int) -> None:
        raise OSError(errno.EBADF, f"handle {handle}")

    def device_io_control(self, _: int, code: int, data: bytes | None, size: int) -> Answer:
        answer: Answer = self.answer(code, data, size) if callable(self.answer) else self.answer
        return answer

    def logical_processors(self) -> list[LogicalProcessor]:
        return [LogicalProcessor(0, 0, 0, 0, 0)]


def reads(answer: Any) -> int:
    """What one register reads as, of a driver that was found to take 8 bytes."""
    registers = DriverRegisters(Scripted(answer), Processor("GenuineIntel", 6, 142))  # type: ignore[arg-type]
    registers.dialect = EIGHT
    return registers.read(0, 0x611)


def test_an_answer_of_eight_bytes_is_a_register() -> None:
    assert reads(Answer(True, 0, 8, bytes(range(8)))) == 0x0706050403020100


@pytest.mark.parametrize("returned", [0, 4, 7, 9, None])
def test_an_answer_of_another_length_is_an_error(returned: int | None) -> None:
    with pytest.raises(OSError, match="bytes") as wrong:
        reads(Answer(True, 0, returned, bytes(8)))
    assert wrong.value.errno == errno.EBADMSG


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (1, errno.EIO),
        (1117, errno.EIO),
        (31, errno.EIO),
        (87, errno.ENXIO),
        (5, errno.EACCES),
        (6, errno.EBADF),
        (433, errno.ENODEV),
        (3221225622, errno.EINVAL),
    ],
)
def test_a_failure_is_an_errno_and_never_a_number(error: int, code: int) -> None:
    with pytest.raises(OSError, match=f"Windows error {error}") as wrong:
        reads(Answer(False, error, None, bytes(8)))
    assert wrong.value.errno == code


def test_before_the_protocol_is_known_nothing_is_read() -> None:
    registers = DriverRegisters(Scripted(Answer(True, 0, 8, bytes(8))), Processor("GenuineIntel", 6, 142))  # type: ignore[arg-type]
    with pytest.raises(OSError, match="protocol"):
        registers.read(0, 0x611)
    with pytest.raises(OSError, match="looked for"):
        Scaphandre(Scripted(None)).gauge(0x611, [0])  # type: ignore[arg-type]


def test_a_driver_that_refuses_everything_says_so() -> None:
    registers = DriverRegisters(Scripted(Answer(False, 1, None, bytes(8))), Processor("GenuineIntel", 6, 142))  # type: ignore[arg-type]
    with pytest.raises(OSError, match="each of its protocols") as refused:
        registers.learn()
    assert refused.value.errno == errno.ENOSYS


def test_a_driver_that_asks_for_anything_and_survives_is_guarded() -> None:
    def answer(_: int, data: bytes | None, size: int) -> Answer:
        if data is not None and data[:4] == (0x1B2).to_bytes(4, "little"):
            return Answer(False, 1117, None, bytes(size))
        return Answer(True, 0, 8, (0xA0E03).to_bytes(8, "little"))

    registers = DriverRegisters(Scripted(answer), Processor("GenuineIntel", 6, 142))  # type: ignore[arg-type]
    registers.learn()
    assert registers.is_guarded


def test_where_one_name_is_forbidden_that_is_the_error_and_not_that_the_other_is_missing() -> None:
    class Closed(Scripted):
        def create_file(self, path: str, *_: object) -> int:
            raise OSError(errno.EACCES if path == PATHS[0] else errno.ENOENT, path)

    registers = DriverRegisters(Closed(None), Processor("GenuineIntel", 6, 142))  # type: ignore[arg-type]
    with pytest.raises(PermissionError):
        registers.learn()


@pytest.mark.parametrize(
    ("shown", "is_one"),
    [
        ((5, 5, 5), True),
        ((5, 6, 7), True),
        ((5, 4, 7), False),
        ((5, 8, 7), False),
        ((2**32 - 1, 0, 1), True),
        ((2**32 - 2, 2**32 - 1, 1), True),
        ((2**32 - 1, 77, 1), False),
    ],
)
def test_a_counter_is_another_ones_if_it_lies_between_two_readings_of_it(
    shown: tuple[int, int, int],
    is_one: bool,  # noqa: FBT001
) -> None:
    following = iter(shown)
    script = Scripted(lambda *_: Answer(True, 0, 8, next(following).to_bytes(8, "little")))
    registers = DriverRegisters(script, Processor("GenuineIntel", 6, 142))  # type: ignore[arg-type]
    registers.dialect = EIGHT
    assert registers.show_the_same(0x611, 0, 1) is is_one


def test_gauges_of_one_register_and_cpu_are_equal() -> None:
    registers = DriverRegisters(Scripted(None), Processor("GenuineIntel", 6, 142))  # type: ignore[arg-type]
    assert DriverRegister(registers, 0x611, 0) == DriverRegister(registers, 0x611, 0)
    assert DriverRegister(registers, 0x611, 0) != DriverRegister(registers, 0x619, 0)
