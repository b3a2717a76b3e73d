# SPDX-License-Identifier: Apache-2.0
"""codecarbon 3.3.2 on Apple silicon: it takes a machine here for one, and the stand-in of powermetrics for the tool."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SPEED = 10
MEASURED = """
import json, os, socket, sys, time
from types import SimpleNamespace
from codecarbon import OfflineEmissionsTracker
from codecarbon.core import cpu, powermetrics, util

# Its own modules alone: what it imports would look for parts that only macOS has.
util.sys = powermetrics.sys = SimpleNamespace(platform="darwin")
# Where psutil works, 3.3.2 estimates from the processor's load and never looks at powermetrics.
cpu.is_psutil_available = lambda: False

QUESTION = {"do": "energies", "domains": ["package-0/core", "package-0/uncore"]}

def truth():
    with socket.socket(socket.AF_UNIX) as door:
        door.connect(os.environ["RAPLICA_CONTROL"])
        with door.makefile("rw") as lines:
            lines.readline()
            print(json.dumps(QUESTION), file=lines, flush=True)
            found = json.loads(lines.readline())["result"]
    return found["now_ns"], *(one["truth_uj"] for one in found["energies"])

tracker = OfflineEmissionsTracker(
    country_iso_code="FRA", measure_power_secs=60, save_to_file=False, log_level="info", tracking_mode="machine"
)
truths, durations = [truth()], []
tracker.start()
truths.append(truth())
time.sleep(0.5)
(chip,) = [one for one in tracker._hardware if getattr(one, "chip_part", "") == "CPU"]
measure = chip.measure_power_and_energy
def measured(last_duration):
    truths.append(truth())
    durations.append(last_duration)
    return measure(last_duration)
chip.measure_power_and_energy = measured
truths.append(truth())
tracker.stop()
data = tracker.final_emissions_data
print(json.dumps({
    "truths": truths,
    "durations_s": durations,
    "cpu_j": data.cpu_energy * 3.6e6,
    "cpu_w": data.cpu_power,
    "gpu_w": data.gpu_power,
    "model": data.cpu_model,
}))
"""

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("can_exec")]


def on_a_mac(program: str, home: dict[str, str], folder: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    words = [sys.executable, "-m", "raplica_simulator", "exec", "mac-m2pro", "--as", "macos", *options]
    return subprocess.run(
        [*words, "--", program, "-I", "-c", MEASURED],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        cwd=folder,
        env=home,
    )


def test_it_tells_the_truth_of_cpu_and_gpu_within_two_percent(
    python_with: Callable[[str], str], home: dict[str, str], tmp_path: Path
) -> None:
    done = on_a_mac(python_with("codecarbon"), home, tmp_path, "--speed", str(SPEED))
    assert "CPU Tracking Method: PowerMetrics" in done.stderr
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    (before_ns, *_), (first_ns, first_cpu, first_gpu), (stop_ns, *_), (last_ns, last_cpu, last_gpu) = found["truths"]
    seconds = (last_ns - first_ns) / 1e9
    assert found["model"] == "Apple M2 Pro"
    # Watts are joules in a second of the machine's, and codecarbon takes them times seconds of the host's.
    cpu_w = (last_cpu - first_cpu) / 1e6 / seconds
    assert found["cpu_w"] == pytest.approx(cpu_w, rel=0.02)
    assert found["gpu_w"] == pytest.approx((last_gpu - first_gpu) / 1e6 / seconds, rel=0.02)
    (host_s,) = found["durations_s"]
    assert found["cpu_j"] == pytest.approx(cpu_w * host_s, rel=0.02)
    # Its seconds begin while it starts and end while it stops, however long a busy system takes for both.
    assert (stop_ns - first_ns) / 1e9 <= host_s * SPEED <= (last_ns - before_ns) / 1e9
