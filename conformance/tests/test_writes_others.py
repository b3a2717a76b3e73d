# SPDX-License-Identifier: Apache-2.0
"""Which writes a machine is given beside limits, windows and switches: other drivers, registers, one nobody needs."""

import errno
from typing import Any

import pytest

from raplica_conformance.subject import Provider
from raplica_conformance.subjects.journal import SavedRegister, parse

from .guarded_writes import LIMIT, SWITCH, ZONE, odd, refused, refused_register, writes

pytestmark = pytest.mark.usefixtures("signal_handlers")


def test_what_is_no_limit_window_or_switch_of_a_zone_is_never_written(patient: Any) -> None:
    machine = patient("kabylake")
    paths = writes(machine)
    subject = machine.guarded()
    for path in ("devices/virtual/powercap/intel-rapl/enabled", f"{ZONE}/uevent", f"{ZONE}/power/control"):
        assert "cannot be put back" in refused(subject, path, b"1")
    for path in (f"{ZONE}/name", f"{ZONE}/energy_uj", f"{ZONE}/constraint_0_max_power_uw"):
        with pytest.raises(PermissionError):
            subject.write(path, b"0")
    with pytest.raises(FileNotFoundError):
        subject.write(f"{ZONE}/none", b"0")
    assert "is left alone" in refused_register(subject, 0x610, 0)
    subject.close()
    assert paths == []


def test_how_other_drivers_store_a_number_is_not_known(patient: Any) -> None:
    machine = patient(odd("other-control-types"))
    paths = writes(machine)
    subject = machine.guarded()
    limits = [f"{path}/constraint_0_power_limit_uw" for path in ("devices/virtual/powercap/dtpm/dtpm:0",)]
    for path in limits:
        refused(subject, path, b"1")
    subject.close()
    assert paths == []


@pytest.mark.parametrize(
    ("name", "control_type", "present", "why"),
    [
        ("both-interfaces", "intel-rapl-mmio", 28_000_000, "of the msr device lies behind intel-rapl-mmio"),
        ("tpmi", "intel-rapl", 350_000_000, "made from TPMI, and no register of the msr device lies behind them"),
    ],
    ids=["mmio", "tpmi"],
)
def test_behind_mmio_and_tpmi_only_what_its_own_text_restores_is_touched_although_there_is_a_msr_device(
    name: str, control_type: str, present: int, why: str, patient: Any
) -> None:
    machine = patient(odd(name))
    before = machine.registers()
    subject = machine.guarded()
    zone = f"devices/virtual/powercap/{control_type}/{control_type}:0"
    limit, window = f"{zone}/constraint_0_power_limit_uw", f"{zone}/constraint_0_time_window_us"
    assert machine.tree.read(limit) == b"%d\n" % present
    assert subject.write(limit, b"%d\n" % (present // 2)) > 0
    assert subject.write(window, machine.tree.read(window)) > 0
    assert machine.tree.read(limit) == b"%d\n" % (present // 2)
    changed = {place for place, raw in machine.registers().items() if before[place] != raw}
    assert {owner for owner, _ in changed} == {-1}
    assert refused(subject, f"{zone}/enabled", b"1").endswith(why)
    window = f"{zone}/constraint_1_time_window_us"
    if machine.tree.read(window) == b"2440\n":
        assert refused(subject, window, b"2440").endswith(why)
    else:
        assert subject.write(window, b"1952") == 4
    subject.put_back()
    assert machine.registers() == before
    subject.close()
    assert (subject.unrestored, machine.files) == ([], {})


def test_registers_that_do_not_show_what_the_zone_shows_are_not_believed(
    patient: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = patient("kabylake")
    real = machine.msr_read
    subject = machine.guarded()
    # An emulated processor answers 0 to every register.
    monkeypatch.setattr(machine, "msr_read", lambda _cpu, _register: 0)
    assert "does not fit the range" in refused(subject, SWITCH, b"1")
    subject.put_back()
    # Another limit, another window.
    for bit in (1, 1 << 18):
        monkeypatch.setattr(
            machine, "msr_read", lambda cpu, register, bit=bit: real(cpu, register) ^ (bit if register == 0x610 else 0)
        )
        assert "does not hold what intel-rapl:0 shows" in refused(subject, SWITCH, b"1")
        subject.put_back()
    monkeypatch.setattr(machine, "places", dict)
    assert "which CPU intel-rapl:0 belongs to is not known" in refused(subject, SWITCH, b"1")
    subject.close()


def test_a_machine_that_nobody_needs_takes_everything_but_lock_bits(patient: Any) -> None:
    machine = patient("kabylake")
    before = machine.registers()
    subject = machine.guarded(wild=True)
    assert {"writable", "wild-writes", "msr"} <= subject.can
    for data in (b"0", b"4294967295"):
        assert subject.write(LIMIT, data) == len(data)
    assert subject.write(f"{ZONE}/uevent", b"add") == 3
    assert subject.write(SWITCH, b"0") == 1
    subject.put_back()
    raw = machine.machine.msr.read(0, 0x610)
    subject.msr_write(0, 0x610, raw & ~0x7FFF)
    # A register is announced like everything else.
    assert parse(machine.files[machine.journal]).entries == [SavedRegister(0, 0x610, raw)]
    assert "a lock bit stays" in refused_register(subject, 0x610, raw | 1 << 63)
    subject.close()
    assert machine.registers() == before


def test_what_a_subject_promises_depends_on_the_msr_device(patient: Any) -> None:
    for msr, wild, wanted in (
        (0, False, {"writable", "msr"}),
        (errno.ENOENT, False, {"writable"}),
        (errno.EPERM, True, {"writable", "wild-writes", "msr"}),
    ):
        machine = patient("kabylake", msr=msr)
        subject = machine.guarded(wild=wild)
        provider: Provider = subject
        assert isinstance(provider, Provider)
        assert subject.can == machine.tree.can | wanted
        assert subject.arguments[-1] == "--allow-writes"
        subject.close()
