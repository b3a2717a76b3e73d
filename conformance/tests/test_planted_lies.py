# SPDX-License-Identifier: Apache-2.0
"""Machines that lie in one matter: faults that no directory can hold (errnos, order, sizes, writes, registers, time).

A simulated machine answers, and one kind of answer is changed as lies.toml says. Together with planted.toml every
clause about providers has a fault that it finds: the last test counts them.
"""

import errno
import os
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from raplica_conformance.clause import NEEDS, load_clauses
from raplica_conformance.judge import judge
from raplica_conformance.subject import Mode, Stat, User
from raplica_conformance.subjects.simulator import SimulatedMachine, SimulatedTree

# A whole suite or tree each time: the quick set of the other Pythons leaves them out.
pytestmark = pytest.mark.slow

RAPL = "devices/virtual/powercap/intel-rapl"
ENERGY = f"{RAPL}/intel-rapl:0/energy_uj"
WINDOW = f"{RAPL}/intel-rapl:0/constraint_0_time_window_us"
UNIT_NJ = 61_035

HERE = Path(__file__).parent
LIES: list[dict[str, Any]] = tomllib.loads((HERE / "lies.toml").read_text())["lie"]
FAULTS: list[dict[str, Any]] = tomllib.loads((HERE / "planted.toml").read_text())["fault"]


def fail(name: str, path: str = "") -> OSError:
    number = getattr(errno, name)
    return OSError(number, os.strerror(number), path)


@dataclass
class LyingTree:
    """A provider that looks at the lie first and then asks the machine."""

    tree: SimulatedTree
    lie: dict[str, Any]
    can = NEEDS

    def __post_init__(self) -> None:
        self.name, self.kernel = self.tree.name, self.tree.kernel
        self.readlink, self.cpus, self.advance = self.tree.readlink, self.tree.cpus, self.tree.advance
        self.hook: Callable[..., Any] | None = HOOKS.get(self.lie.get("hook", ""))
        self.calls: list[str] = []

    def read(self, path: str) -> bytes:
        self.calls.append(path)
        if self.hook is not None and self.hook in READS:
            return bytes(self.hook(self, path))
        if (told := self.about("reads", path)) is not None:
            if "errno" in told:
                raise fail(told["errno"], path)
            return bytes(told["text"].encode())
        if path.endswith("/energy_uj") and (told := self.about("counts", path.removesuffix("/energy_uj"))) is not None:
            return self.count(path, told)
        return self.tree.read(path)

    def count(self, path: str, told: dict[str, Any]) -> bytes:
        raw = told.get("from", -(-int(self.tree.read(path)) * 1000 // UNIT_NJ)) + told.get("add", 0)
        raw += self.tree.clock.now_ns // told.get("every_ns", 1) * told.get("step", 0)
        return b"%d\n" % (raw % (1 << told.get("wraps_at_bit", 32)) * UNIT_NJ // 1000)

    def write(self, path: str, data: bytes) -> int:
        if self.hook is not None and self.hook not in READS:
            return int(self.hook(self, path, data))
        told = self.about("takes", path)
        if told is None or not is_such(data, told):
            return self.tree.write(path, data)
        if "errno" in told:
            raise fail(told["errno"], path)
        if "instead" in told:
            self.tree.write(path, told["instead"].encode())
        if "turns" in told:
            self.msr_write(0, 0x610, self.msr_read(0, 0x610) ^ told["turns"])
        return int(told["count"])

    def stat(self, path: str) -> Stat:
        found, told = self.tree.stat(path), self.about("stat", path)
        if told is None or told.get("of", found.kind) != found.kind:
            return found
        return replace(found, **{name: value for name, value in told.items() if name not in ("end", "of")})

    def listdir(self, path: str) -> list[str]:
        found, told = self.tree.listdir(path), self.about("lists", path)
        if told is None:
            return found
        return sorted(found) if told["names"] == "sorted" else []

    def open_errno(self, path: str, mode: Mode, user: User) -> int:
        told = self.about("opens", path)
        if told is None or (told["mode"], told["user"]) != (mode, user):
            return self.tree.open_errno(path, mode, user)
        return int(getattr(errno, told["errno"])) if told["errno"] else 0

    def msr_read(self, cpu: int, register: int) -> int:
        told = self.lie.get("register", {})
        if told.get("address") != register or told.get("cpu", cpu) != cpu:
            return self.tree.msr_read(cpu, register)
        if "faults" in told:
            raise fail("EIO")
        return int(told["reads"] if "reads" in told else self.tree.msr_read(cpu, register) ^ told["turns"])

    def msr_write(self, cpu: int, register: int, value: int) -> None:
        told = self.lie.get("swallows", {})
        if told.get("address") != register or not (value ^ self.tree.msr_read(cpu, register)) & told["bits"]:
            self.tree.msr_write(cpu, register, value)

    def about(self, what: str, path: str) -> dict[str, Any] | None:
        """What the lie says of this kind of answer, where it says something of this path."""
        told: dict[str, Any] | None = self.lie.get(what)
        return told if told is not None and path.endswith(told.get("end", "")) else None


def is_such(data: bytes, told: dict[str, Any]) -> bool:
    if "longer" in told:
        return len(data) > int(told["longer"])
    return data.startswith(told["begins"].encode()) if "begins" in told else data == str(told["data"]).encode()


def second_read_is_empty(lying: LyingTree, path: str) -> bytes:
    again = lying.calls[-2:] == [path, path] and path.endswith("intel-rapl:1/name")
    return b"" if again else lying.tree.read(path)


def ticks_when_read(lying: LyingTree, path: str) -> bytes:
    if path != ENERGY:
        return lying.tree.read(path)
    return lying.count(path, {"add": lying.calls.count(path) - 1})


def rounds_up(lying: LyingTree, path: str, data: bytes) -> int:
    if path.endswith("_power_limit_uw") and re.fullmatch(rb"\d+\n?", data):
        lying.tree.write(path, b"%d" % (-(-int(data) // 125_000) * 125_000))
        return len(data)
    return lying.tree.write(path, data)


def clamps(lying: LyingTree, path: str, data: bytes) -> int:
    if path.endswith("_power_limit_uw") and re.fullmatch(rb"\d{1,19}\n?", data):
        lying.tree.write(path, b"%d" % min(int(data), 0x7FFF * 125_000))
        return len(data)
    return lying.tree.write(path, data)


def clamps_mmio(lying: LyingTree, path: str, data: bytes) -> int:
    return clamps(lying, path, data) if "intel-rapl-mmio" in path else lying.tree.write(path, data)


def keeps_15_bits(lying: LyingTree, path: str, data: bytes) -> int:
    if path.endswith("_power_limit_uw") and re.fullmatch(rb"\d{1,19}\n?", data):
        zone = path.rpartition("/")[0]
        step = 250_000 if lying.tree.read(f"{zone}/name") == b"psys\n" else 125_000
        lying.tree.write(path, b"%d" % ((int(data) // step & 0x7FFF) * step))
        return len(data)
    return lying.tree.write(path, data)


def writes_mmio_too(lying: LyingTree, path: str, data: bytes) -> int:
    if path.startswith(f"{RAPL}/intel-rapl:0/constraint_") and path.endswith("_power_limit_uw"):
        lying.tree.write(path.replace("intel-rapl", "intel-rapl-mmio"), data)
    return lying.tree.write(path, data)


def writes_msr_too(lying: LyingTree, path: str, data: bytes) -> int:
    if "intel-rapl-mmio:0/constraint_" in path and path.endswith("_power_limit_uw"):
        lying.tree.write(path.replace("intel-rapl-mmio", "intel-rapl"), data)
    return lying.tree.write(path, data)


def notices_the_lock(lying: LyingTree, path: str, data: bytes) -> int:
    if path.endswith("_power_limit_uw") and lying.tree.msr_read(0, 0x610) >> 63:
        raise fail("ENODATA", path)
    return lying.tree.write(path, data)


def keeps_the_window_2440(lying: LyingTree, path: str, data: bytes) -> int:
    if path == WINDOW and data == b"2440\n":
        lying.tree.msr_write(0, 0x610, lying.tree.msr_read(0, 0x610) & ~(0x7F << 17) | 0x21 << 17)
        return len(data)
    return lying.tree.write(path, data)


def leaves_the_limit_of_psys(lying: LyingTree, path: str, data: bytes) -> int:
    limits = 0x1FFFF | 0x1FFFF << 32
    before = lying.tree.msr_read(0, 0x65C) & limits
    count = lying.tree.write(path, data)
    if path.endswith("intel-rapl:1/enabled"):
        lying.tree.msr_write(0, 0x65C, lying.tree.msr_read(0, 0x65C) & ~limits | before)
    return count


READS = (second_read_is_empty, ticks_when_read)
WRITES = (
    rounds_up,
    clamps,
    clamps_mmio,
    keeps_15_bits,
    writes_mmio_too,
    writes_msr_too,
    notices_the_lock,
    keeps_the_window_2440,
    leaves_the_limit_of_psys,
)
HOOKS: dict[str, Callable[..., Any]] = {hook.__name__: hook for hook in (*READS, *WRITES)}


class Liar:
    """A subject whose trees lie."""

    can = NEEDS

    def __init__(self, lie: dict[str, Any]) -> None:
        machine = lie["machine"] if "." not in lie["machine"] else str(HERE / lie["machine"])
        self.machine, self.lie = SimulatedMachine(machine, lie.get("kernel", "6.12")), lie
        self.name, self.kernel = self.machine.name, self.machine.kernel

    def fresh(self) -> LyingTree:
        return LyingTree(self.machine.fresh(), self.lie)


def verdicts(lie: dict[str, Any]) -> dict[str, tuple[str, str]]:
    liar = Liar(lie)
    found = [judge(clause, liar) for clause in load_clauses().values() if clause.kind == "provider"]
    return {verdict.clause.id: (verdict.verdict, verdict.reason) for verdict in found}


@pytest.mark.parametrize("lie", LIES, ids=[lie["title"].replace(" ", "-") for lie in LIES])
def test_a_lie_fails_the_clauses_that_name_it_and_no_others(lie: dict[str, Any]) -> None:
    found = verdicts(lie)
    assert {
        name: reason for name, (word, reason) in found.items() if word not in ("pass", "fail", "not-applicable")
    } == {}
    assert sorted(name for name, (word, _) in found.items() if word == "fail") == sorted(lie["fails"])


def test_every_clause_about_providers_has_a_planted_fault_that_it_finds() -> None:
    planted = {name for table in (FAULTS, LIES) for fault in table for name in fault["fails"]}
    assert {clause.id for clause in load_clauses().values() if clause.kind == "provider"} - planted == set()
