# SPDX-License-Identifier: Apache-2.0
"""Meters that are Python libraries, told when to look: `library.py codecarbon`, `pyJoules` or `pyRAPL`.

It speaks the protocol of stepped readers, as `raplica_conformance.readers.stepped` has it. Each is asked through its
documented interface as a program would use it that measures one interval after the other. An exception that the library
lets through would end such a program: it is a problem, and not an answer.
"""

import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

__all__ = ["Said", "converse", "main"]

#: What codecarbon lets pass between two looks at the least, in s: it skips a look that comes sooner.
_CODECARBON_PAUSE_S = 0.06
_UJ_PER_KWH = 3_600_000_000_000

#: Microjoules since the first sample by domain, None where it knows nothing; None instead of a number for the whole.
Said = tuple[Mapping[str, float | None], float | None]


def codecarbon() -> Iterator[Said]:
    """An OfflineEmissionsTracker that looks when it is flushed; `cpu_energy` is the sum of all packages."""
    library: Any = importlib.import_module("codecarbon")
    outputs: Any = importlib.import_module("codecarbon.output_methods.base_output")
    results: list[Any] = []

    class Kept(outputs.BaseOutput):  # type: ignore[misc]
        """An output of results, as codecarbon lets its users bring one."""

        def out(self, total: Any, delta: Any) -> None:  # noqa: ARG002 - codecarbon's own signature
            results.append(total)

    tracker = library.OfflineEmissionsTracker(
        country_iso_code="FRA",
        measure_power_secs=3600,
        tracking_mode="machine",
        save_to_file=False,
        output_handlers=[Kept()],
        allow_multiple_runs=True,
        log_level="error",
    )
    tracker.start()
    yield {}, 0
    while True:
        time.sleep(_CODECARBON_PAUSE_S)
        tracker.flush()
        yield {}, results[-1].cpu_energy * _UJ_PER_KWH


def pyjoules() -> Iterator[Said]:
    """An EnergyMeter on all devices, with an interval of its own for each sample; it adds nothing up."""
    devices: Any = importlib.import_module("pyJoules.device")
    meters: Any = importlib.import_module("pyJoules.energy_meter")
    meter = meters.EnergyMeter(devices.DeviceFactory.create_devices())
    spent: dict[str, float] = {}
    meter.start()
    yield dict.fromkeys(map(_path_of_pyjoules, _domains(meter)), 0.0), None
    while True:
        meter.stop()
        (interval,) = meter.get_trace()
        meter.start()
        for name, energy_uj in interval.energy.items():
            path = _path_of_pyjoules(name)
            spent[path] = spent.get(path, 0.0) + energy_uj
        yield spent, None


def pyrapl() -> Iterator[Said]:
    """A Measurement for each interval; -1 and None are its words for what it knows nothing of."""
    library: Any = importlib.import_module("pyRAPL")
    library.setup()
    spent: dict[str, float | None] = {}
    measurement = library.Measurement("interval")
    measurement.begin()
    yield {}, None
    while True:
        measurement.end()
        result = measurement.result
        measurement.begin()
        for part, energies in (("", result.pkg), ("/dram", result.dram)):
            known = [path for path in spent if path.endswith("/dram") == bool(part)]
            if energies is None:
                spent.update(dict.fromkeys(known))
            for package, energy_uj in enumerate(energies or ()):
                path = f"package-{package}{part}"
                before = spent.get(path, 0.0)
                spent[path] = None if energy_uj == -1 or before is None else before + energy_uj
        yield spent, None


_LIBRARIES: Mapping[str, Callable[[], Iterator[Said]]] = {
    "codecarbon": codecarbon,
    "pyJoules": pyjoules,
    "pyRAPL": pyrapl,
}


def main(name: str) -> int:
    """Answer for one of the libraries until the end of the input."""
    return converse(name, _LIBRARIES[name])


def converse(name: str, begin: Callable[[], Iterator[Said]]) -> int:
    """Answer line by line until the end of the input; `begin` takes a baseline, and what it gives looks again."""
    if "HOME" in os.environ:
        os.chdir(os.environ["HOME"])
    said: Iterator[Said] = iter(())
    # What a library prints is no answer.
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        what = json.loads(line)["do"]
        try:
            if what == "start":
                said = begin()
            answer = {"ok": True, "do": what} if what == "stop" else _answer(*next(said))
        except Exception as error:  # noqa: BLE001 - whatever it raises, its user would get
            problem = f"{name} raised {type(error).__name__}: {error}"
            answer = {"ok": False, "problem": " ".join(problem.split())}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
        if what == "stop":
            break
    return 0


def _answer(zones: Mapping[str, float | None], total_uj: float | None) -> dict[str, Any]:
    document: dict[str, Any] = {
        "ok": True,
        "zones": [
            {"id": path, "path": path, "energy_uj": None if energy_uj is None else round(energy_uj)}
            for path, energy_uj in zones.items()
        ],
    }
    if total_uj is not None:
        document["total_uj"] = round(total_uj)
    return document


def _path_of_pyjoules(name: str) -> str:
    """`dram_1` is what it calls package-1/dram."""
    part, _, package = name.rpartition("_")
    return f"package-{package}" if part == "package" else f"package-{package}/{part}"


def _domains(meter: Any) -> list[str]:
    return [str(domain) for device in meter.devices for domain in device.get_configured_domains()]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
