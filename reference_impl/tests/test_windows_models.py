# SPDX-License-Identifier: Apache-2.0
"""Which energy registers a processor is documented to have, and so which are asked for."""

from __future__ import annotations

import errno

import pytest

from raplica_reader.processor import Processor
from raplica_reader.windows import Scaphandre
from raplica_reader.windows_models import documented
from raplica_simulator import Machine
from raplica_simulator.windows.scaphandre_driver import ScaphandreDriver
from raplica_simulator.windows.system import WindowsSystem

from .scaphandre import Wrapped, paths, process_of


@pytest.mark.parametrize(
    ("vendor", "signature"),
    [
        ("GenuineIntel", (6, 0x1A, 5)),  # Nehalem
        ("GenuineIntel", (6, 0x2C, 2)),  # Westmere
        ("GenuineIntel", (5, 9, 0)),
        ("AuthenticAMD", (0x15, 2, 0)),
        ("CentaurHauls", (7, 0x3B, 0)),
    ],
)
def test_a_processor_without_rapl_is_not_asked(vendor: str, signature: tuple[int, int, int]) -> None:
    system = WindowsSystem.with_driver(Machine.from_profile("kabylake"), ScaphandreDriver("v2-8-open"))
    calls = Wrapped(system.process(), cpu_vendor=lambda: vendor, cpu_signature=lambda: signature)
    with pytest.raises(OSError, match="no energy registers") as refused:
        Scaphandre(calls).discover()
    assert refused.value.errno == errno.ENXIO


def test_the_processor_can_be_told() -> None:
    process = process_of(Machine.from_profile("kabylake"), "v3.2")
    unknown = Scaphandre(process, Processor("GenuineIntel", 6, 0xFE)).discover()
    assert paths(unknown) == ["package-0"]  # what a step of its memory is worth nobody knows
    assert Scaphandre(process, Processor("GenuineIntel", 19, 1)).discover() != ()


@pytest.mark.parametrize(
    ("model", "domains"),
    [
        (0x2A, {"package", "core", "uncore"}),
        (0x2D, {"package", "core"}),
        (0x3C, {"package", "core", "uncore", "dram"}),
        (0x3F, {"package", "dram"}),  # where 0x641 takes an unguarded driver's machine down
        (0x4E, {"package", "core", "uncore", "dram", "psys"}),
        (0x8F, {"package", "dram", "psys"}),
        (0x37, {"package", "core"}),
        (0x5C, {"package"}),
        (0xFE, {"package"}),
    ],
)
def test_what_a_model_is_documented_to_have_is_asked_of_any_driver(model: int, domains: set[str]) -> None:
    assert documented(Processor("GenuineIntel", 6, model)) == domains
    assert documented(Processor("GenuineIntel", 19, model)) == {"package"}
    assert documented(Processor("AuthenticAMD", 0x19, model)) == {"package", "core"}
