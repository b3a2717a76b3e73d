# SPDX-License-Identifier: Apache-2.0
"""A program for tests that reads Windows' energy meters and knows emi.h."""

import struct
from collections.abc import Sequence
from fractions import Fraction

from raplica_simulator import Machine
from raplica_simulator.windows.ctl_code import CtlCode
from raplica_simulator.windows.energy_meter import EnergyMeterDriver
from raplica_simulator.windows.energy_meter_layout import (
    GET_MEASUREMENT,
    GET_METADATA,
    GET_METADATA_SIZE,
    GET_VERSION,
    GUID_DEVICE_ENERGY_METER,
)
from raplica_simulator.windows.system import WindowsSystem
from raplica_simulator.windows.win32_calls import Completion, Win32Calls

READ = 0x80000000
J_PER_PWH = Fraction(36, 10**10)


class Meter:
    """One meter, as a program reads it that knows emi.h: every offset stands here again."""

    def __init__(self, process: Win32Calls, path: str, access: int = READ) -> None:
        self.process = process
        self.handle = process.create_file(path, access)

    def ask(self, code: CtlCode | int, size: int, data: bytes | None = None) -> Completion:
        return self.process.device_io_control(self.handle, int(code), data, size)

    def answer(self, code: CtlCode, size: int) -> bytes:
        done = self.ask(code, size)
        assert (done.ok, done.returned, done.overrun) == (True, size, b"")
        return done.output

    @property
    def version(self) -> int:
        return int.from_bytes(self.answer(GET_VERSION, 2), "little")

    def metadata(self) -> bytes:
        return self.answer(GET_METADATA, int.from_bytes(self.answer(GET_METADATA_SIZE, 4), "little"))

    def names(self) -> list[str]:
        found = self.metadata()
        return [name for _, name in channels_of(found)] if self.version == 2 else [name_of_v1(found)]

    def measure(self) -> dict[str, tuple[int, int]]:
        """Energy in pWh and time in 100 ns by the channel's name."""
        names = self.names()
        raw = self.answer(GET_MEASUREMENT, 16 * len(names))
        return dict(zip(names, struct.iter_unpack("<QQ", raw), strict=True))


def channels_of(metadata: bytes) -> list[tuple[int, str]]:
    """Where each channel of EMI_METADATA_V2 begins, and its name without the NUL."""
    (count,) = struct.unpack_from("<H", metadata, 66)
    found, at = [], 68
    for _ in range(count):
        unit, size = struct.unpack_from("<IH", metadata, at)
        name = metadata[at + 6 : at + 6 + size]
        assert unit == 0
        assert name[-2:] == b"\0\0"
        found.append((at, name[:-2].decode("utf-16-le")))
        at += 6 + size
    assert at == len(metadata)
    return found


def name_of_v1(metadata: bytes) -> str:
    unit, size = *struct.unpack_from("<I", metadata), *struct.unpack_from("<H", metadata, 70)
    assert unit == 0
    assert len(metadata) == 72 + size
    return metadata[72:-2].decode("utf-16-le")


def meters(machine: Machine, driver: EnergyMeterDriver | None = None, **rights: bool) -> list[Meter]:
    process = WindowsSystem.with_driver(machine, driver or EnergyMeterDriver()).process(**rights)
    return [Meter(process, path) for path in process.device_interfaces(GUID_DEVICE_ENERGY_METER)]


def energies(found: Sequence[Meter]) -> dict[str, int]:
    """The energy in pWh of every channel of all meters."""
    return {name: energy for meter in found for name, (energy, _) in meter.measure().items()}


def pwh(steps: int, unit_j: Fraction) -> int:
    return int(steps * unit_j / J_PER_PWH)
