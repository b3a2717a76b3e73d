# SPDX-License-Identifier: Apache-2.0
"""codecarbon 3.3.2 as it reads Windows: the energy meters of a simulated one, and a log of Intel Power Gadget.

The code is codecarbon's own but for CreateFile and DeviceIoControl, whose calls come here, one line of JSON each, and
are made on the simulated Windows.
"""

import json
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from raplica_simulator import Machine
from raplica_simulator.windows.energy_meter import EnergyMeterDriver
from raplica_simulator.windows.energy_meter_layout import GUID_DEVICE_ENERGY_METER
from raplica_simulator.windows.power_log import PowerLog
from raplica_simulator.windows.system import WindowsSystem

CLIENT = """
import json, sys
from codecarbon.core import cpu, windows_emi
from codecarbon.core.units import Time

def ask(**words):
    print(json.dumps(words), flush=True)
    return json.loads(sys.stdin.readline())

class Device:
    def __init__(self, path):
        self.path = path
    def __enter__(self):
        return self
    def __exit__(self, *_):
        pass
    def ioctl(self, code, size):
        answer = ask(path=self.path, code=code, size=size)
        if not answer["ok"]:
            raise OSError(answer["error"], "DeviceIoControl")
        return bytes.fromhex(answer["out"])[: answer["returned"]]

class Log(cpu.IntelPowerGadget):
    def _setup_cli(self):
        pass
    def _log_values(self):
        pass

windows_emi._EmiDeviceHandle = Device
windows_emi.list_emi_device_paths = lambda: ask(paths=True)
platform, sys.platform = sys.platform, "win32"
for case in ask(cases=True):
    meter = windows_emi.WindowsEMI(emi_include_dram=ask(case=case))
    meter.start()
    for _ in range(2):
        ask(advance=True)
        energies = {
            name: kwh for name, kwh in meter.get_cpu_details(Time(seconds=1)).items() if "Energy" in name
        }
        ask(result=sum(energies.values()) * 3.6e6, count=len(energies))
sys.platform = platform
ask(log=Log(log_file_name=sys.argv[1]).get_cpu_details())
"""

SECONDS = 4321
# The machine, the kind of its meters, whether codecarbon counts DRAM, and what it then should count.
CASES: dict[str, tuple[str, dict[str, Any], bool, tuple[str, ...]]] = {
    "a client": ("kabylake", {}, False, ("package-0",)),
    "a client with dram": ("kabylake", {}, True, ("package-0", "package-0/dram")),
    "version 1": ("kabylake", {"version": 1}, False, ("package-0",)),
    "cores beside the package": ("zen4", {}, False, ("package-0",)),
    "four mirrors": ("zen4", {"mirrors": 4}, False, ("package-0",)),
    "names of amd": ("zen4", {"names": "amd"}, False, ("package-0", *(f"package-0/core-{n}" for n in range(16)))),
}

pytestmark = pytest.mark.slow


class Windows:
    """Makes the calls of the client, and keeps what it found: for each case two intervals, then a log."""

    def __init__(self) -> None:
        self.found: dict[str, list[tuple[float, int, Fraction]]] = {case: [] for case in CASES}
        self.details: dict[str, float] = {}
        self._case = ""
        self._system = WindowsSystem(Machine.from_profile("kabylake"))
        self._before_j = Fraction(0)

    def answer(self, words: dict[str, Any]) -> Any:
        """What one line is answered with."""
        process = self._system.process(administrator=False)
        if "code" in words:
            handle = process.create_file(words["path"], 0x80000000)
            done = process.device_io_control(handle, words["code"], None, words["size"])
            process.close_handle(handle)
            return {"ok": done.ok, "error": done.error, "returned": done.returned, "out": done.output.hex()}
        if "paths" in words:
            return process.device_interfaces(GUID_DEVICE_ENERGY_METER)
        if "cases" in words:
            return list(CASES)
        if "case" in words:
            self._case = words["case"]
            profile, kind, dram, _ = CASES[self._case]
            machine = Machine.from_profile(profile)
            self._system = WindowsSystem.with_driver(machine, EnergyMeterDriver(**kind))
            return dram
        if "advance" in words:
            self._before_j = self._truth_j()
            self._system.machine.clock.advance(seconds=SECONDS)
        if "result" in words:
            truth_j = self._truth_j() - self._before_j
            self.found[self._case].append((words["result"], words["count"], truth_j))
        self.details.update(words.get("log", {}))
        return None

    def _truth_j(self) -> Fraction:
        return sum((self._system.machine.truth_joules(domain) for domain in CASES[self._case][3]), Fraction(0))


@pytest.fixture(scope="module")
def windows(
    python_with: Callable[[str], str], home: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Windows:
    """What codecarbon found."""
    machine = Machine.from_profile("kabylake")
    machine.load.set(package=12, core=7)
    log = PowerLog(machine, lambda step_ns: machine.clock.advance(nanoseconds=step_ns))
    path: Path = tmp_path_factory.mktemp("log") / "log.csv"
    path.write_text("".join(f"{line}\n" for line in log.lines(5 * 10**9, 10**8)), encoding="utf-8")
    found = Windows()
    with subprocess.Popen(
        [python_with("codecarbon"), "-I", "-c", CLIENT, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=home,
    ) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        for line in client.stdout:
            client.stdin.write(json.dumps(found.answer(json.loads(line))) + "\n")
            client.stdin.flush()
    assert client.returncode == 0
    return found


@pytest.mark.parametrize("case", [case for case in CASES if case != "names of amd"])
def test_the_energy_meters_give_it_the_truth(windows: Windows, case: str) -> None:
    assert len(windows.found[case]) == 2
    for joules, _, truth_j in windows.found[case]:
        assert joules == pytest.approx(float(truth_j), rel=1e-6)


def test_it_takes_the_package_alone_and_of_mirrors_one(windows: Windows) -> None:
    counts = {case: [count for _, count, _ in found] for case, found in windows.found.items()}
    assert counts["a client"] == counts["cores beside the package"] == [1, 1]
    assert counts["a client with dram"] == [2, 2]
    assert counts["four mirrors"] == [1, 1]


def test_where_nothing_is_called_a_package_it_adds_the_cores_to_the_socket_that_they_are_part_of(
    windows: Windows,
) -> None:
    for joules, count, truth_j in windows.found["names of amd"]:
        assert count == 2
        assert joules == pytest.approx(float(truth_j), rel=1e-6)


def test_the_log_of_power_gadget_gives_it_watts_and_joules(windows: Windows) -> None:
    assert windows.details["Processor Power_0(Watt)"] == pytest.approx(12, rel=1e-4)
    assert windows.details["IA Power_0(Watt)"] == pytest.approx(7, rel=1e-4)
    assert windows.details["Cumulative Processor Energy_0(Joules)"] == pytest.approx(60, rel=1e-4)
    assert windows.details["Cumulative Processor Energy_0(mWh)"] == pytest.approx(60 / 3.6, rel=1e-4)
