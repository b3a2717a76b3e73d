# SPDX-License-Identifier: Apache-2.0
"""What may be written to a machine that somebody needs, what never is, and what is said of the rest."""

import errno
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_conformance import loop
from raplica_conformance.clause import ClauseSkipped, load_clauses
from raplica_conformance.clauses.parsing import outcome
from raplica_conformance.subjects.host import CpuFacts
from raplica_conformance.subjects.journal import parse
from raplica_conformance.subjects.permission import number_in

from .guarded_writes import LIMIT, SWITCH, ZONE, odd, refused, writes

SHORT_WINDOW = f"{ZONE}/constraint_1_time_window_us"


pytestmark = pytest.mark.usefixtures("signal_handlers")


# --- limits and windows


@pytest.mark.parametrize("msr", [0, errno.ENOENT, errno.EPERM])
def test_a_limit_is_set_between_half_of_what_it_is_and_what_it_is(msr: int, patient: Any) -> None:
    machine = patient("kabylake", msr=msr)
    subject = machine.guarded()
    present = int(machine.tree.read(LIMIT))
    before = machine.registers()
    for number in (present, present // 2, present // 2 + 1, present - 1):
        assert subject.write(LIMIT, b"%d\n" % number) == len(str(number)) + 1
        # Of what it was before the clause: not of what the clause has made of it.
        assert subject.write(LIMIT, b"%d" % present) == len(str(present))
    for number in (0, 1, present // 2 - 1, present + 1, 1 << 63):
        assert "is not between half and all of" in refused(subject, LIMIT, b"%d" % number)
    subject.put_back()
    assert int(machine.tree.read(LIMIT)) == present
    subject.close()
    different = {address for (cpu, address), raw in machine.registers().items() if before[cpu, address] != raw}
    assert different == (set() if msr == 0 else {0x1B2})


def test_a_path_through_the_class_directory_is_the_same_attribute(patient: Any) -> None:
    machine = patient("kabylake")
    paths = writes(machine)
    subject = machine.guarded()
    subject.write("class/powercap/intel-rapl:0/constraint_0_power_limit_uw", machine.tree.read(LIMIT))
    assert paths == [LIMIT]
    assert {entry.path for entry in parse(machine.files[machine.journal]).entries if hasattr(entry, "path")} == {LIMIT}
    subject.close()


def test_what_no_driver_hears_of_is_written_to_limits_and_windows_and_needs_no_journal(patient: Any) -> None:
    machine = patient("kabylake", msr=errno.ENOENT)
    subject = machine.guarded()
    for path in (LIMIT, SHORT_WINDOW):
        for data in (b"", b"-1", b"0x10", b"1e6", b"18446744073709551616", b" 5"):
            if data:
                with pytest.raises(OSError, match=rf"\[Errno {errno.EINVAL}\]"):
                    subject.write(path, data)
            else:
                assert subject.write(path, data) == 0
    assert parse(machine.files[machine.journal]).entries == []
    subject.close()


@given(
    st.one_of(
        st.binary(max_size=24),
        st.from_regex(rb"[+ -]?[0-9]{1,22}\n{0,2}\x00?.?", fullmatch=True),
        st.integers(0, 2**65).map(lambda number: b"%d\n" % number),
        st.integers(4080, 4100).map(lambda width: b"1".rjust(width, b"0") + b"\ngarbage"),
    )
)
def test_the_number_in_a_write_is_the_one_that_the_kernel_finds(patient: Any, data: bytes) -> None:
    tree = patient("kabylake").tree
    taken = outcome(tree, LIMIT, data)
    found = number_in(data)
    assert (found is None) is (taken == "EINVAL" or not data)
    if found is not None:
        assert taken == min(len(data), 4096)
        assert int(tree.read(LIMIT)) == (found // 125_000 & 0x7FFF) * 125_000


@given(st.data())
def test_whatever_a_clause_writes_nothing_is_set_that_was_not_allowed_and_all_of_it_is_put_back(
    patient: Any, data: Any
) -> None:
    machine = patient(data.draw(st.sampled_from(("kabylake", "alderlake-p", odd("locked-core")))))
    before = machine.registers()
    subject = machine.guarded()
    names = ("constraint_0_power_limit_uw", "constraint_1_time_window_us", "constraint_0_time_window_us", "enabled")
    zones = (ZONE, f"{ZONE}/intel-rapl:0:0")
    for _ in range(data.draw(st.integers(1, 12))):
        path = f"{data.draw(st.sampled_from(zones))}/{data.draw(st.sampled_from(names))}"
        present = int(machine.tree.read(path)) if machine.tree.open_errno(path, "r", "root") == 0 else 0
        number = data.draw(st.one_of(st.integers(0, 2 * present + 2), st.integers(0, 2**65)))
        now = machine.registers()
        try:
            subject.write(path, b"%d" % number)
        except ClauseSkipped:
            assert machine.registers() == now
        except OSError:
            pass
        else:
            assert path.endswith("enabled") or 0 < number <= present * 2
        for cpu in machine.places():
            assert machine.machine.msr.read(cpu, 0x610) >> 63 == 0
    subject.close()
    assert machine.registers() == before


def test_a_window_that_its_own_text_would_change_is_touched_only_where_the_register_can_be_restored(
    patient: Any,
) -> None:
    assert patient("kabylake").tree.read(SHORT_WINDOW) == b"2440\n"
    machine = patient("kabylake")
    before = machine.registers()
    subject = machine.guarded()
    assert subject.write(SHORT_WINDOW, b"1952") == 4
    assert machine.registers() != before
    subject.close()
    assert machine.registers() == before
    for msr, why in (
        (errno.ENOENT, "there is no /dev/cpu/0/msr (modprobe msr)"),
        (errno.EPERM, "/dev/cpu/0/msr cannot be written (Operation not permitted)"),
    ):
        subject = patient("kabylake", msr=msr).guarded()
        reason = refused(subject, SHORT_WINDOW, b"2440")
        assert reason.endswith(f"2440 written back may store something else, and {why}")
        subject.close()


def test_a_limit_of_a_zone_without_units_is_never_written_since_that_crashes_the_kernel(patient: Any) -> None:
    machine = patient(odd("no-units"))
    paths = writes(machine)
    for wild in (False, True):
        subject = machine.guarded(wild=wild)
        for data in (b"0", b"1000000"):
            assert "no units" in refused(subject, LIMIT, data)
        subject.close()
    assert paths == []


def test_on_a_kernel_with_another_arithmetic_only_the_register_will_do(patient: Any) -> None:
    for kernel in ("5.2.21", "3.13.0", None):
        machine = patient("kabylake", msr=errno.ENOENT)
        machine.tree.kernel = kernel
        subject, text = machine.guarded(), machine.tree.read(LIMIT)
        assert "stores a number is not known" in refused(subject, LIMIT, text)
        subject.close()


# --- switches


@pytest.mark.parametrize("msr", [errno.ENOENT, errno.EPERM])
@pytest.mark.parametrize("data", [b"0", b"1", b"", b"x"])
def test_a_switch_is_never_written_without_the_msr_device(data: bytes, msr: int, patient: Any) -> None:
    machine = patient("kabylake", msr=msr)
    paths = writes(machine)
    subject = machine.guarded()
    assert "a switch changes bits that no text shows" in refused(subject, SWITCH, data)
    subject.close()
    assert paths == []


def test_the_switch_of_psys_is_never_written_on_sapphire_and_emerald_rapids(patient: Any) -> None:
    psys = "devices/virtual/powercap/intel-rapl/intel-rapl:1"
    for model in (143, 207):
        machine = patient("sapphirerapids-2s")
        machine.facts = CpuFacts("GenuineIntel", 6, model)
        paths = writes(machine)
        subject = machine.guarded()
        assert machine.tree.read(f"{psys}/name") == b"psys\n"
        assert "changes its limits" in refused(subject, f"{psys}/enabled", b"1")
        assert subject.write(SWITCH, b"1") == 1
        subject.close()
        assert f"{psys}/enabled" not in paths


def test_a_zone_that_is_off_or_whose_limit_is_0_is_not_switched_on(patient: Any) -> None:
    subject = patient("kabylake").guarded()
    core = f"{ZONE}/intel-rapl:0:0/enabled"
    assert "would put a limit in force" in refused(subject, core, b"1")
    subject.close()
    machine = patient("kabylake")
    machine.machine.msr.poke(0, 0x610, machine.machine.msr.read(0, 0x610) & ~(0x7FFF << 32))
    subject = machine.guarded()
    assert "short_term is 0" in refused(subject, SWITCH, b"1")
    subject.close()


def test_where_a_switch_changes_more_than_registers_or_the_cpu_is_not_known_it_is_left_alone(patient: Any) -> None:
    subject = patient("baytrail").guarded()
    assert "what no register shows" in refused(subject, SWITCH, b"1")
    subject.close()
    machine = patient("kabylake")
    machine.facts = CpuFacts()
    subject = machine.guarded()
    assert "model of the CPU is not known" in refused(subject, SWITCH, b"1")
    subject.close()


@pytest.mark.parametrize("kernel", ["6.1", "6.12"])
def test_an_amd_zone_is_never_switched_since_linux_6_1_writes_register_0_then(kernel: str, patient: Any) -> None:
    machine = patient("zen4", kernel)
    paths = writes(machine)
    subject = machine.guarded()
    refused(subject, SWITCH, b"1")
    subject.close()
    assert paths == []


# --- what the clauses make of it


@pytest.mark.parametrize("kernel", ["6.1", "6.12"])
@pytest.mark.parametrize("machine", ["kabylake", "skylake-sp-2s", "alderlake-p", "baytrail", "zen2-epyc-2s"])
@pytest.mark.parametrize("msr", [0, errno.ENOENT, errno.EPERM], ids=["msr", "none", "read-only"])
def test_a_right_machine_passes_and_what_is_not_allowed_is_skipped(
    msr: int, machine: str, kernel: str, patient: Any
) -> None:
    subject = patient(machine, kernel, msr=msr).guarded()
    clauses = [clause for clause in load_clauses().values() if "writable" in clause.needs]
    verdicts = loop.run([(clause, subject) for clause in clauses])
    subject.close()
    words = {verdict.clause.id: verdict.verdict for verdict in verdicts}
    assert set(words.values()) <= {"pass", "skip", "not-applicable"}
    assert all(verdict.reason for verdict in verdicts if verdict.verdict == "skip")
    assert words["powercap.write.read-only"] == "pass"
    if machine in ("kabylake", "skylake-sp-2s", "alderlake-p"):
        assert words["powercap.write.number-accepted"] == "pass"
        assert (words["rapl.write.enabled-sets-clamps"] == "pass") is (msr == 0)
        assert (words["rapl.write.limit-rounds-down"] == "pass") is (msr != errno.ENOENT)
