# SPDX-License-Identifier: Apache-2.0
"""Any walk through what can be done to the drivers: only errnos and crashes come out, and a reset mends it all.

Processors come and go, modules and devices too, registers fail and are healed, the machine sleeps and is reset, and
attributes are read and written in between.  After each step every link has its directory and every directory its link.
"""

from collections.abc import Callable
from contextlib import suppress
from errno import EIO
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raplica_simulator import KernelCrash, Machine, load_profile
from raplica_simulator.profile.profile import Profile

CLASS = "class/powercap"
DEVICES = "devices/virtual/powercap"
KERNELS = ("5.5", "6.1", "6.12", "7.2")
COMMON = """
[load]
package = 90
core = 20
dram = 9
[mmio]
0x58E0 = 0x8100
0x58E8 = 0x00ABCDEF
0x5938 = 0xA0E03
0x593C = 0x10000000
0x59A0 = "0x00428320001B8320"
[firmware]
0x610 = 0x0
"""
CLIENT = """
[registers]
0x606 = 0xA0E03
0x610 = "0x00428440001B83E8"
0x611 = 0x12345678
0x619 = 0x00ABCDEF
0x639 = 0x00234567
0x64D = 0x00456789
0x65C = 0x00DC8078
"""
TPMI = """
[tpmi.0.package]
0x08 = 0xA383
0x10 = 0x640
0x38 = 0x1234567
[tpmi.0.memory]
0x08 = 0xA383
0x38 = 0x77777
[tpmi.1.package]
0x08 = 0xA383
0x18 = 0x640
0x38 = 0x1234567
"""
# Clients with MSR and MMIO, without PL4 and with it, and a server with TPMI and MMIO: odd, for all have two packages.
MODELS = {"kabylake": (0x9E, CLIENT), "alderlake": (0x9A, f"{CLIENT}0x601 = 0x3F0\n"), "graniterapids": (0xAD, TPMI)}
REGISTERS = (0x606, 0x610, 0x611, 0x619, 0x639, 0x64D, 0x65C, 0x1B2)
WORDS = (0x5938, 0x593C, 0x59A0, 0x58E8)
TPMI_WORDS = (0x00, 0x08, 0x10, 0x38, 0x80, 0xB8)
TEXTS = (b"0", b"1", b"5000000", b"18446744073709551615", b"x", b"", b"add")

Step = Callable[[Machine], object]


@cache
def profile_of(folder: Path, model: str, rules: str) -> Profile:
    number, registers = MODELS[model]
    path = folder / f"{model}-{rules}.toml"
    path.write_text(
        f'rules = "{rules}"\n[cpu]\nvendor = "GenuineIntel"\nfamily = 6\nmodel = {number}\nflags = ["pts", "pln"]\n'
        f"[topology]\npackages = 2\ndies_per_package = 1\ncores_per_die = 2\nthreads_per_core = 1\n{registers}{COMMON}"
    )
    return load_profile(path)


def attribute(machine: Machine, number: int) -> str | None:
    """One of the attributes that there are now; None without any."""
    devices = [f"{CLASS}/{name}" for name in machine.sysfs.listdir(CLASS)]
    wanted = ("constraint", "enabled", "energy", "max", "uevent")
    found = [f"{at}/{name}" for at in devices for name in machine.sysfs.listdir(at) if name.startswith(wanted)]
    return found[number % len(found)] if found else None


def reads(number: int) -> Step:
    return lambda machine: (path := attribute(machine, number)) and machine.sysfs.read(path)


def writes(number: int, text: bytes) -> Step:
    return lambda machine: (path := attribute(machine, number)) and machine.sysfs.write(path, text)


def heal(machine: Machine) -> None:
    for cpu in range(4):
        for register in REGISTERS:
            machine.msr.inject(cpu, register, "both", None)
    for package in range(2):
        for offset in TPMI_WORDS:
            machine.tpmi.inject(offset, "both", None, package)
    for offset in WORDS:
        machine.mmio.inject(offset, "both", None)


cpus = st.integers(0, 3)
packages = st.integers(0, 1)
values = st.sampled_from((0, 5, 0xA0E03, 1 << 63 | 0x8001, (1 << 64) - 1))
faults = st.sampled_from(("read", "write", "both"))


def calls(*path: str) -> st.SearchStrategy[Step]:
    """A call without arguments on the machine or a part of it."""

    def call(machine: Machine) -> object:
        target: object = machine
        for name in path:
            target = getattr(target, name)
        assert callable(target)
        return target()

    return st.just(call)


STEPS: st.SearchStrategy[Step] = st.one_of(
    *(calls("driver", name) for name in ("load", "unload", "bind", "unbind", "load_common", "load_msr", "unload_msr")),
    *(calls("driver", name) for name in ("attach_mmio", "detach_mmio")),
    *(calls(name) for name in ("suspend", "resume", "reset")),
    st.just(heal),
    cpus.map(lambda cpu: lambda machine: machine.cpu(cpu).online()),
    cpus.map(lambda cpu: lambda machine: machine.cpu(cpu).offline()),
    packages.map(lambda package: lambda machine: machine.driver.attach_tpmi(package)),
    packages.map(lambda package: lambda machine: machine.driver.detach_tpmi(package)),
    st.builds(lambda cpu, at, on: lambda m: m.msr.inject(cpu, at, on), cpus, st.sampled_from(REGISTERS), faults),
    st.builds(lambda cpu, at, raw: lambda m: m.msr.poke(cpu, at, raw), cpus, st.sampled_from(REGISTERS), values),
    st.builds(lambda at, on: lambda m: m.mmio.inject(at, on, EIO), st.sampled_from(WORDS), faults),
    st.builds(lambda at, raw: lambda m: m.mmio.poke(at, raw), st.sampled_from(WORDS), values),
    st.builds(lambda at, on, p: lambda m: m.tpmi.inject(at, on, EIO, p), st.sampled_from(TPMI_WORDS), faults, packages),
    st.builds(lambda at, raw, p: lambda m: m.tpmi.poke(at, raw, p), st.sampled_from(TPMI_WORDS), values, packages),
    st.integers(1, 10**7).map(lambda seconds: lambda machine: machine.clock.advance(seconds=seconds)),
    st.integers(0, 99).map(reads),
    st.builds(writes, st.integers(0, 99), st.sampled_from(TEXTS)),
)


def devices(machine: Machine) -> dict[str, str]:
    """Every device by its name, with where its class link has to lead."""
    found = {}
    try:
        waiting = [f"{DEVICES}/{name}" for name in machine.sysfs.listdir(DEVICES)]
    except FileNotFoundError:
        return {}
    while waiting:
        path = waiting.pop()
        name = path.rpartition("/")[2]
        found[name] = f"../../{path}"
        waiting += [f"{path}/{below}" for below in machine.sysfs.listdir(path) if below.startswith(f"{name}:")]
    return found


@pytest.mark.untraced  # test_rapl_driver.py and test_rapl_hotplug.py show it
@pytest.mark.parametrize("kernel", KERNELS)
@settings(max_examples=25, deadline=None)
@given(
    model=st.sampled_from(sorted(MODELS)),
    rules=st.sampled_from(("silicon", "table")),
    steps=st.lists(STEPS, min_size=5, max_size=30),
)
def test_whatever_is_done_the_tree_is_whole_and_a_reset_brings_the_first_one_back(
    tmp_path_factory: pytest.TempPathFactory, kernel: str, model: str, rules: str, steps: list[Step]
) -> None:
    machine = Machine.from_profile(profile_of(tmp_path_factory.getbasetemp(), model, rules), kernel=kernel)
    first = (machine.sysfs.listdir(CLASS), machine.driver.interfaces)
    for step in steps:
        with suppress(OSError, KernelCrash):
            step(machine)
        links = {name: machine.sysfs.readlink(f"{CLASS}/{name}") for name in machine.sysfs.listdir(CLASS)}
        assert links == devices(machine)
    machine.driver.unload()
    assert machine.sysfs.listdir(CLASS) == []
    machine.reset()
    assert (machine.sysfs.listdir(CLASS), machine.driver.interfaces) == first
    assert machine.driver.online == {0, 1, 2, 3}
    machine.driver.unload()
    machine.driver.load()
    assert machine.sysfs.listdir(CLASS) == first[0]
