# SPDX-License-Identifier: Apache-2.0
"""An unmodified reader of somebody else's, Debian's prometheus-node-exporter, on a generated tree.

It is a static program that knows nothing of raplica: what it reports must be what the simulator says.
"""

import http.client
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import pytest

from raplica_simulator import Machine, VirtualClock

EXPORTER = shutil.which("prometheus-node-exporter")
SAMPLE = re.compile(
    r'node_rapl_(?P<name>\w+)_joules_total\{index="(?P<index>\d+)",path="(?P<path>[^"]+)"\} (?P<value>\S+)'
)
AT_S = Decimal("86400.25")

pytestmark = pytest.mark.skipif(
    EXPORTER is None and os.environ.get("RAPLICA_EXPORTER") != "required",
    reason="prometheus-node-exporter is not installed: apt-get install prometheus-node-exporter, or .ci/run",
)


@contextmanager
def exporter(tree: Path) -> Iterator[int]:
    """The exporter on a tree, on a free port of the loopback; yields the port."""
    assert EXPORTER is not None
    command = [
        EXPORTER,
        f"--path.sysfs={tree}",
        "--collector.disable-defaults",
        "--collector.rapl",
        "--web.listen-address=127.0.0.1:0",
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            log = []
            for line in process.stderr:
                log.append(line)
                if found := re.search(r'Listening on" address=127\.0\.0\.1:(\d+)', line):
                    yield int(found[1])
                    break
            else:
                pytest.fail(f"the exporter did not start: {''.join(log)}")
        finally:
            process.terminate()


def scrape(port: int) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()
    finally:
        connection.close()


@pytest.mark.pitfall("dram-is-child-zero-on-servers")
@pytest.mark.parametrize("name", ["skylake-sp-2s", "kabylake", "zen4"])
def test_the_node_exporter_reports_the_zones_and_joules_that_the_simulator_says(tmp_path: Path, name: str) -> None:
    tree = tmp_path / "sys"
    subprocess.run(
        [sys.executable, "-m", "raplica_simulator", "generate", name, str(tree), "--at", str(AT_S)],
        check=True,
        capture_output=True,
    )
    with exporter(tree) as port:
        page = scrape(port)
    assert 'node_scrape_collector_success{collector="rapl"} 1' in page
    reported = {Path(found["path"]).name: found for found in SAMPLE.finditer(page)}

    clock = VirtualClock()
    machine = Machine.from_profile(name, clock=clock)
    clock.advance(seconds=AT_S)
    zones = sorted(zone for zone in machine.sysfs.listdir("class/powercap") if ":" in zone)
    assert sorted(reported) == zones
    unnumbered: Counter[str] = Counter()
    for zone in zones:
        kind, _, index = machine.sysfs.read(f"class/powercap/{zone}/name").decode().strip().partition("-")
        energy_uj = int(machine.sysfs.read(f"class/powercap/{zone}/energy_uj"))
        assert reported[zone]["name"] == kind
        # Zones without a number in their name are counted by the exporter.
        assert reported[zone]["index"] == (index or str(unnumbered[kind]))
        unnumbered[kind] += 1
        # The exporter divides by 10^6 in floating point: as near as its 53 bits go.
        assert abs(Decimal(reported[zone]["value"]) * 1_000_000 - energy_uj) < Decimal("0.01")
