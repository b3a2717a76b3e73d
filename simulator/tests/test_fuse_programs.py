# SPDX-License-Identifier: Apache-2.0
"""Programs that know nothing of raplica, on a mount: cat, dd, a shell, perl, a C program, the node exporter."""

import http.client
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from raplica_simulator import Machine
from raplica_simulator.live.machine import LiveMachine, start
from raplica_simulator.load.plan import ConstantLoad
from raplica_simulator.surfaces.fuse import FuseMount

ZONE = "sys/class/powercap/intel-rapl:0"
EXPORTER = shutil.which("prometheus-node-exporter")
SAMPLE = re.compile(r'node_rapl_(\w+)_joules_total\{index="(\d+)",path="([^"]+)"\} (\S+)')
READ_MSR = r"""
#define _FILE_OFFSET_BITS 64
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    uint64_t words[2];
    int file = open(argv[1], O_RDONLY);
    if (file < 0 || pread(file, words, sizeof words, strtoull(argv[2], 0, 0)) != sizeof words)
        return perror(argv[1]), 1;
    return printf("%llu %llu\n", (unsigned long long)words[0], (unsigned long long)words[1]) < 0;
}
"""

Mount = Callable[..., FuseMount]


@pytest.fixture
def live() -> LiveMachine:
    """A machine on a clock that moves when the test says so."""
    return start("skylake-sp-2s", load=ConstantLoad({"package": 100, "dram": 8}), at_s=1000)


def output(*command: str | Path) -> bytes:
    return subprocess.run(command, check=True, capture_output=True).stdout


def energy_uj(live: LiveMachine, zone: str = "intel-rapl:0") -> int:
    return int(live.machine.sysfs.read(f"class/powercap/{zone}/energy_uj"))


def test_cat_and_dd_read_the_number_however_they_cut_it(live: LiveMachine, mount: Mount) -> None:
    path = Path(mount(live).directory, ZONE, "energy_uj")
    for command in (["cat", path], ["dd", f"if={path}", "bs=1"], ["dd", f"if={path}", "bs=7"], ["head", "-n1", path]):
        assert int(output(*command)) == energy_uj(live)
        live.machine.clock.advance(seconds=1)


def test_a_shell_reads_and_writes(live: LiveMachine, mount: Mount) -> None:
    script = (
        'cd "$1"; read limit < constraint_0_power_limit_uw; echo $((limit / 2)) > constraint_0_power_limit_uw;'
        "cat constraint_0_power_limit_uw; echo 0x10 > constraint_0_power_limit_uw || echo refused"
    )
    before = int(live.machine.sysfs.read("class/powercap/intel-rapl:0/constraint_0_power_limit_uw"))
    done = output("sh", "-c", script, "sh", Path(mount(live).directory, ZONE))
    assert done.split() == [b"%d" % (before // 2), b"refused"]
    assert live.machine.msr.read(0, 0x610) & 0x7FFF == before // 2 // 125000


def test_find_and_ls_see_the_tree_of_the_machine(live: LiveMachine, mount: Mount) -> None:
    root = Path(mount(live).directory)
    order = output("ls", "-U", root / "sys/class/powercap").decode().split()
    assert order == live.machine.sysfs.listdir("class/powercap")
    links = output("find", root / "sys/class/powercap", "-type", "l", "-printf", "%l\n").decode().split()
    assert len(links) == len(order)
    energies = output("sh", "-c", 'ls -L "$1"/*:*/energy_uj', "sh", root / "sys/class/powercap").decode().split()
    assert len(energies) == 4


def test_a_python_without_us_samples_watts(mount: Mount) -> None:
    program = (
        "import sys, time\n"
        "file = open(sys.argv[1])\n"
        "def sample():\n"
        "    file.seek(0)\n"
        "    return time.monotonic(), int(file.read()), time.monotonic()\n"
        "(t0, e0, t1), _, (t2, e1, t3) = sample(), time.sleep(0.2), sample()\n"
        "print(*((e1 - e0) / s / 1e6 for s in (t3 - t0, t2 - t1)))\n"
    )
    live = start("skylake-sp-2s", load=ConstantLoad({"package": 100}))
    shown = mount(live)
    live.let_time_run()
    said = output(sys.executable, "-I", "-S", "-c", program, Path(shown.directory, ZONE, "energy_uj"))
    # A read happened between the looks at the clock around it, however long a busy system took for that.
    least, most = map(float, said.split())
    assert least < 102
    assert most > 98


def test_perl_reads_a_register_by_seek_and_read(live: LiveMachine, mount: Mount) -> None:
    perl = shutil.which("perl")
    assert perl is not None, "perl is not installed: apt-get install perl-base"
    program = 'open F, "<:raw", $ARGV[0] or die $!; sysseek F, 0x611, 0; sysread F, $w, 8; print unpack "Q<", $w'
    said = output(perl, "-e", program, Path(mount(live).directory, "dev/cpu/0/msr"))
    assert int(said) == live.machine.msr.read(0, 0x611)


def test_dd_reads_and_writes_registers_and_is_told_what_faults(live: LiveMachine, mount: Mount) -> None:
    path = Path(mount(live).directory, "dev/cpu/20/msr")
    at = ["bs=8", "count=1", "status=none"]
    # dd counts in blocks: register 0x610 is block 0xC2.
    read = output("dd", f"if={path}", f"skip={0x610}", "iflag=skip_bytes", *at)
    assert int.from_bytes(read, "little") == live.machine.msr.read(20, 0x610)
    wanted = (live.machine.msr.read(20, 0x610) & ~0x7FFF) | 80 * 8
    command = ["dd", f"of={path}", f"seek={0x610}", "oflag=seek_bytes", "conv=notrunc", *at]
    subprocess.run(command, input=wanted.to_bytes(8, "little"), check=True)
    assert live.machine.msr.read(20, 0x610) == wanted
    command = ["dd", f"if={path}", f"skip={0x999}", "iflag=skip_bytes", *at]
    done = subprocess.run(command, capture_output=True, check=False, env={**os.environ, "LC_ALL": "C"})
    assert b"Input/output error" in done.stderr


def test_a_c_program_reads_the_same_register_twice(live: LiveMachine, mount: Mount, tmp_path: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("there is no C compiler here; perl and dd read registers in the tests above")
    (tmp_path / "msr.c").write_text(READ_MSR)
    subprocess.run([compiler, "-o", tmp_path / "msr", tmp_path / "msr.c"], check=True)
    path = Path(mount(live).directory, "dev/cpu/0/msr")
    value = live.machine.msr.read(0, 0x611)
    assert output(tmp_path / "msr", path, "0x611").split() == [b"%d" % value] * 2


@pytest.mark.skipif(
    EXPORTER is None and os.environ.get("RAPLICA_EXPORTER") != "required",
    reason="prometheus-node-exporter is not installed: apt-get install prometheus-node-exporter, or .ci/run",
)
@pytest.mark.parametrize("name", ["skylake-sp-2s", "kabylake"])
def test_the_node_exporter_sees_the_energy_move(mount: Mount, name: str) -> None:
    live = start(name, load=ConstantLoad({"package": 20}), at_s=86_400)
    shown = mount(live)
    command = [
        str(EXPORTER),
        f"--path.sysfs={shown.directory}/sys",
        "--collector.disable-defaults",
        "--collector.rapl",
        "--web.listen-address=127.0.0.1:0",
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            found = (re.search(r'Listening on" address=127\.0\.0\.1:(\d+)', line) for line in process.stderr)
            port = next((int(line[1]) for line in found if line), None)
            assert port is not None, "the exporter did not start"
            for _ in range(3):
                reported = scrape(port)
                zones = [zone for zone in live.machine.sysfs.listdir("class/powercap") if ":" in zone]
                assert sorted(reported) == sorted(zones)
                for zone, joules in reported.items():
                    assert abs(joules * 1_000_000 - energy_uj(live, zone)) < Decimal("0.01")
                with shown.held() as machine:
                    machine.clock.advance(seconds=100)
        finally:
            process.terminate()


def scrape(port: int) -> dict[str, Decimal]:
    """The joules of each zone, by its name."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", "/metrics")
        page = connection.getresponse().read().decode()
    finally:
        connection.close()
    assert 'node_scrape_collector_success{collector="rapl"} 1' in page
    return {Path(found[2]).name: Decimal(found[3]) for found in SAMPLE.findall(page)}


def test_what_a_machine_of_a_recording_shows_is_mounted_too(mount: Mount) -> None:
    from raplica_fixtures import recording_paths

    machine = Machine.from_profile(recording_paths()[0])
    assert output("cat", Path(mount(machine).directory, ZONE, "name")) == b"package-0\n"
