# SPDX-License-Identifier: Apache-2.0
"""rdmsr and wrmsr of msr-tools: registers read, written and refused, as on the device of a real processor."""

from collections import Counter
from collections.abc import Callable

import pytest

from .observation import Observation, truth_j

Observe = Callable[..., Observation]
Program = Callable[[str], str]


def test_rdmsr_meters_the_package_and_dram(observe: Observe, program: Program) -> None:
    script = (
        '"$0" -p 1 -c 0x611; "$0" -p 1 -c 0x619; sleep 1; "$0" -p 1 -c 0x611; "$0" -p 1 -c 0x619; "$0" -p 1 -u 0x606'
    )
    seen = observe("sh", "-c", script, program("rdmsr"))
    assert (seen.status, seen.err) == (0, "")
    package, dram, package_after, dram_after, unit = (int(line, 0) for line in seen.out.split())
    step_j = 2 ** -(unit >> 8 & 0x1F)
    for before, after, register in ((package, package_after, 0x611), (dram, dram_after, 0x619)):
        reads = seen.msr_reads(register, cpu=1)
        assert [read.given for read in reads] == [before, after]
        assert (after - before) * step_j == pytest.approx(truth_j(reads), rel=0.01)


def test_rdmsr_reads_without_root_too(observe_rootless: Observe, program: Program) -> None:
    seen = observe_rootless(program("rdmsr"), "-p", "9", "-u", "0x611")
    (read,) = seen.msr_reads(0x611, cpu=9)
    assert (seen.status, seen.out, seen.err) == (0, f"{read.given}\n", "")


def test_rdmsr_of_all_processors_finds_two_packages(observe: Observe, program: Program) -> None:
    seen = observe("sh", "-c", '"$0" -a 0x610; "$0" -a -c 0x611', program("rdmsr"))
    lines = seen.out.split()
    assert lines[:16] == ["428440001b83e8"] * 16
    # The counter of package 1 began a quarter of the way ahead of the other.
    assert Counter(line[:4] for line in lines[16:]) == {"0x12": 8, "0x22": 8}


def test_rdmsr_says_which_register_faults_and_which_processor_is_not_there(observe: Observe, program: Program) -> None:
    rdmsr = program("rdmsr")
    seen = observe(rdmsr, "-p", "3", "0x999")
    assert (seen.status, seen.out, seen.err) == (4, "", "rdmsr: CPU 3 cannot read MSR 0x00000999\n")
    seen = observe(rdmsr, "-p", "16", "0x611")
    assert (seen.status, seen.out, seen.err) == (127, "", "rdmsr: open: No such file or directory\n")


def test_rdmsr_picks_bits(observe: Observe, program: Program) -> None:
    rdmsr = program("rdmsr")
    assert observe(rdmsr, "-f", "14:0", "-d", "0x610").out == "1000\n"
    assert observe(rdmsr, "-x", "-0", "0x606").out == "00000000000a0e03\n"


def test_wrmsr_moves_a_limit_that_powercap_then_shows_and_the_machine_keeps(observe: Observe, program: Program) -> None:
    # PL1 20 W over 1 s and no PL2: after the burst that its bucket allows, the package draws 20 of the 50 W it wants.
    script = (
        '"$0" -p 0 0x610 0x1580a0; cat /sys/class/powercap/intel-rapl:0/constraint_0_power_limit_uw;'
        '"$1" -p 0 0x610; "$1" -p 0 -c 0x611; sleep 1; "$1" -p 0 -c 0x611; "$0" -p 0 0x611 0; echo $?'
    )
    seen = observe("sh", "-c", script, program("wrmsr"), program("rdmsr"), speed="10")
    limit_uw, register, before, after, status = seen.out.split()
    assert (limit_uw, register) == ("20000000", "1580a0")
    reads = seen.msr_reads(0x611)
    seconds = (reads[1].at_ns - reads[0].at_ns) / 1e9
    joules = (int(after, 0) - int(before, 0)) / 2**14
    assert joules == pytest.approx(truth_j(reads), rel=0.01)
    assert 20 * seconds <= joules * 1.001 <= 20 * (seconds + 1)
    # A counter is not to be written: the processor faults, and the tool says so.
    assert status == "4"
    assert seen.err == "wrmsr: CPU 0 cannot set MSR 0x00000611 to 0x0000000000000000\n"
