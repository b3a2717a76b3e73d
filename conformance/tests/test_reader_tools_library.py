# SPDX-License-Identifier: Apache-2.0
"""The driver of meters that are Python libraries, each with a stand-in for its library."""

import json
import sys
import types
from collections.abc import Callable
from typing import Any

import pytest

from raplica_conformance.readers.tools import library

from .stand_in import answers, energies


class Tracker:
    """codecarbon's OfflineEmissionsTracker, as far as its interface is used: a kWh more at each flush."""

    def __init__(self, *, output_handlers: list[Any], measure_power_secs: int, **_options: object) -> None:
        assert measure_power_secs > 600  # by itself it does not look
        (self.output,) = output_handlers
        self.flushed = 0

    def start(self) -> None:
        sys.stdout.write("codecarbon says hello\n")

    def flush(self) -> None:
        self.flushed += 1
        self.output.out(types.SimpleNamespace(cpu_energy=self.flushed * 0.5), None)


def module(monkeypatch: pytest.MonkeyPatch, name: str, **members: object) -> None:
    made = types.ModuleType(name)
    vars(made).update(members)
    monkeypatch.setitem(sys.modules, name, made)


@pytest.mark.usefixtures("home")
def test_codecarbon_is_flushed_at_each_sample_and_its_kilowatt_hours_become_microjoules(
    asked: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module(monkeypatch, "codecarbon", OfflineEmissionsTracker=Tracker)
    module(monkeypatch, "codecarbon.output_methods.base_output", BaseOutput=object)
    asked("start", "sample", "sample", "stop")
    assert library.main("codecarbon") == 0
    captured = capsys.readouterr()
    first, second, third, last = map(json.loads, captured.out.splitlines())
    assert [energies(one) for one in (first, second, third)] == [
        {"total": 0},
        {"total": 1_800_000_000_000},
        {"total": 3_600_000_000_000},
    ]
    assert last == {"ok": True, "do": "stop"}
    # What a library prints is no answer.
    assert "codecarbon says hello" in captured.err


@pytest.mark.usefixtures("home")
def test_the_intervals_of_pyjoules_are_added_up_by_the_names_that_domains_have_here(
    asked: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:

    class Meter:
        def __init__(self, devices: list[Any]) -> None:
            self.devices = devices

        def start(self) -> None:
            pass

        def stop(self) -> None:
            pass

        def get_trace(self) -> list[Any]:
            return [types.SimpleNamespace(energy={"package_0": 1000.0, "dram_0": 10.4, "core_1": -3.0})]

    device = types.SimpleNamespace(get_configured_domains=lambda: ["package_0", "dram_0", "core_1"])
    module(monkeypatch, "pyJoules.device", DeviceFactory=types.SimpleNamespace(create_devices=lambda: [device]))
    module(monkeypatch, "pyJoules.energy_meter", EnergyMeter=Meter)
    asked("start", "sample", "sample")
    assert library.main("pyJoules") == 0
    assert [energies(one) for one in answers(capsys)] == [
        {"package-0": 0, "package-0/dram": 0, "package-1/core": 0},
        {"package-0": 1000, "package-0/dram": 10, "package-1/core": -3},
        {"package-0": 2000, "package-0/dram": 21, "package-1/core": -6},
    ]


@pytest.mark.usefixtures("home")
def test_what_pyrapl_knows_nothing_of_stays_unknown(
    asked: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results = iter([([100.0, 50.0], [5.0, -1]), ([100.0, -1], None), ([100.0, 50.0], [5.0, 5.0])])

    class Measurement:
        def __init__(self, label: str) -> None:
            assert label

        def begin(self) -> None:
            pass

        def end(self) -> None:
            pkg, dram = next(results)
            self.result = types.SimpleNamespace(pkg=pkg, dram=dram)

    module(monkeypatch, "pyRAPL", setup=lambda: None, Measurement=Measurement)
    asked("start", "sample", "sample", "sample")
    assert library.main("pyRAPL") == 0
    assert [energies(one) for one in answers(capsys)] == [
        {},
        {"package-0": 100, "package-1": 50, "package-0/dram": 5, "package-1/dram": None},
        {"package-0": 200, "package-1": None, "package-0/dram": None, "package-1/dram": None},
        {"package-0": 300, "package-1": None, "package-0/dram": None, "package-1/dram": None},
    ]


def test_what_a_library_raises_is_a_problem_in_one_line_and_no_answer(
    asked: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("HOME", raising=False)

    def setup() -> None:
        raise OSError(61, "No data\navailable")

    module(monkeypatch, "pyRAPL", setup=setup)
    asked("start", "sample")
    assert library.main("pyRAPL") == 0
    first, second = answers(capsys)
    assert first == {"ok": False, "problem": "pyRAPL raised OSError: [Errno 61] No data available"}
    assert second["ok"] is False
