# SPDX-License-Identifier: Apache-2.0
"""Two small meters of the project's own, static and with fixed paths: what no preloaded library could show them."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from .observation import Observation, truth_j

Observe = Callable[..., Observation]


def metered(seen: Observation) -> dict[str, tuple[str, float]]:
    """What a meter printed: the name and joules of each zone, by its id; "msr" is the register's."""
    rows = [line.split() for line in seen.out.splitlines()]
    return {where: (name, float(joules)) for where, name, joules in rows}


@pytest.mark.parametrize("language", ["c", "go"])
# What it sleeps is longer than the wait for the wrap, and its start, also on a busy host, shorter.
@pytest.mark.parametrize("near_wrap", [None, "0.99"])
def test_a_static_program_with_fixed_paths_meters_every_zone_and_the_register(
    observe: Observe, request: pytest.FixtureRequest, language: str, near_wrap: str | None
) -> None:
    meter: Path = request.getfixturevalue(f"{language}_meter")
    seen = observe(meter, "1000", machine="kabylake", load="package=20,core=12,dram=3", near_wrap=near_wrap)
    assert (seen.status, seen.err) == (0, "")
    said = metered(seen)
    names = {zone: name for zone, (name, _) in said.items()}
    assert names == {
        "intel-rapl:0": "package-0",
        "intel-rapl:0:0": "core",
        "intel-rapl:0:1": "uncore",
        "intel-rapl:0:2": "dram",
        "intel-rapl:1": "psys",
        "msr": "0x611",
    }
    for zone, (_, joules) in said.items():
        reads = seen.msr_reads(0x611) if zone == "msr" else seen.reads(zone)
        assert len(reads) == 2
        assert (reads[1].given < reads[0].given) is (near_wrap is not None)
        assert joules == pytest.approx(truth_j(reads), rel=0.01)


@pytest.mark.parametrize("language", ["c", "go"])
def test_it_meters_without_root_too(observe_rootless: Observe, request: pytest.FixtureRequest, language: str) -> None:
    seen = observe_rootless(request.getfixturevalue(f"{language}_meter"), "700", scenario="base")
    assert (seen.status, seen.err) == (0, "")
    said = metered(seen)
    assert len(said) == 9
    for zone, (_, joules) in said.items():
        reads = seen.msr_reads(0x611) if zone == "msr" else seen.reads(zone)
        assert joules == pytest.approx(truth_j(reads), rel=0.01)


@pytest.mark.parametrize("language", ["c", "go"])
@pytest.mark.usefixtures("can_exec")
def test_the_command_shows_it_the_machine(request: pytest.FixtureRequest, language: str) -> None:
    meter = request.getfixturevalue(f"{language}_meter")
    command = [sys.executable, "-m", "raplica_simulator", "exec", "skylake-sp-2s", "--load", "package=100,dram=8"]
    done = subprocess.run([*command, "--", meter, "10"], capture_output=True, text=True, check=True)
    assert [line.split()[:2] for line in sorted(done.stdout.splitlines())] == [
        ["intel-rapl:0", "package-0"],
        ["intel-rapl:0:0", "dram"],
        ["intel-rapl:1", "package-1"],
        ["intel-rapl:1:0", "dram"],
        ["msr", "0x611"],
    ]
    assert done.stderr == ""


def test_without_privileges_it_is_refused_as_on_a_machine_of_its_own(observe_rootless: Observe, c_meter: Path) -> None:
    seen = observe_rootless(c_meter, "10", scenario="base", unprivileged=True)
    assert (seen.status, seen.out) == (1, "")
    assert seen.err == "/dev/cpu/0/msr: Permission denied\n"
