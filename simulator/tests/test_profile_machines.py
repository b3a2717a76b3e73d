# SPDX-License-Identifier: Apache-2.0
"""The built-in machines: sourced, coherent, and as the machines that they are made after."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from raplica_fixtures import profile_ids, recording_paths
from raplica_simulator.hardware.registers import lookup
from raplica_simulator.profile.profile import Profile, load_profile
from raplica_simulator.profile.warnings import counters

DUMPS: dict[str, Any] = {
    machine["id"]: machine
    for machine in json.loads(
        (Path(__file__).parents[2] / "fixtures" / "dumps" / "real-dumps.json").read_text(encoding="ascii")
    )["machines"]
}
MACHINES = pytest.mark.parametrize("profile", [load_profile(name) for name in profile_ids()], ids=profile_ids())


def values(profile: Profile, address: int) -> list[int]:
    tables = (*profile.registers.values(), *profile.core_registers.values())
    return [words[address] for words in tables if address in words]


@MACHINES
def test_a_built_in_machine_gives_no_warning(profile: Profile) -> None:
    assert profile.warnings == ()


@MACHINES
def test_each_register_value_says_where_it_comes_from(profile: Profile) -> None:
    addresses = {address for words in profile.registers.values() for address in words}
    addresses |= {address for words in profile.core_registers.values() for address in words}
    assert set(profile.provenance) == addresses
    assert set(profile.mmio_provenance) == set(profile.mmio or ())


@MACHINES
def test_each_domain_with_a_counter_has_watts_and_each_with_watts_a_counter(profile: Profile) -> None:
    if not any(profile.registers.values()):
        # No register counts: what zones of their own draw stands beside them.
        assert profile.load is None
        assert profile.control_types
        return
    assert profile.load is not None
    counted = {
        domain
        for domain, address in counters(profile.cpu.id.vendor).items()
        if any(value & 0xFFFFFFFF for value in values(profile, address))
    }
    named = {name: getattr(profile.load, f"{name}_uw") for name in ("package", "core", "uncore", "dram", "psys")}
    assert {name for name, uw in named.items() if uw} == counted


@MACHINES
def test_each_package_and_core_starts_at_a_count_of_its_own(profile: Profile) -> None:
    for address in counters(profile.cpu.id.vendor).values():
        counts = [value for value in values(profile, address) if value]
        assert len(set(counts)) == len(counts)


@MACHINES
def test_no_register_sets_a_bit_that_it_does_not_have_unless_that_was_observed(profile: Profile) -> None:
    for address, provenance in profile.provenance.items():
        register = lookup(address, profile.cpu.id)
        assert register is not None
        if provenance.kind != "observed":
            assert not any(value & register.reserved for value in values(profile, address)), f"0x{address:X}"


@MACHINES
def test_a_witness_is_a_recording_of_the_repository(profile: Profile) -> None:
    names = {path.name.removesuffix(".json.xz") for path in recording_paths()}
    for witness in profile.witnesses:
        assert witness.recording in names
        assert witness.recording.endswith(f"-{witness.kernel}")


@MACHINES
def test_a_value_observed_on_a_machine_of_the_dumps_stands_there(profile: Profile) -> None:
    for address, provenance in profile.provenance.items():
        dump = DUMPS.get(provenance.text.split()[0].rstrip(",") if provenance.text else "")
        if dump is None or provenance.kind != "observed":
            continue
        raw = {int(register["raw"], 16) for register in dump["registers"] if int(register["address"], 16) == address}
        zones = dump.get("zones", {})
        assert zones or set(values(profile, address)) <= raw, f"0x{address:X}"


def test_the_apollo_lake_counters_read_what_its_powercap_tree_showed() -> None:
    zones = DUMPS["apl-n4200-powercap"]["zones"]
    registers = load_profile("apollolake").registers[0]
    shown = {
        0x611: zones["intel-rapl:0"],
        0x639: zones["intel-rapl:0:0"],
        0x641: zones["intel-rapl:0:1"],
        0x619: zones["intel-rapl:0:2"],
    }
    unit_nj = 10**9 >> (registers[0x606] >> 8 & 0x1F)
    assert {address: registers[address] * unit_nj // 1000 for address in shown} == {
        address: zone["energy_uj"] for address, zone in shown.items()
    }
    assert not {0x638, 0x640} & set(registers)


@pytest.mark.parametrize(
    ("profile", "kernels"),
    [("skylake-sp-2s", ("6.1", "6.12")), ("kabylake", ("6.1", "6.12")), ("idle-injection", ("6.1", "6.12"))],
)
def test_a_machine_says_which_kernels_witnessed_one_like_it(profile: str, kernels: tuple[str, ...]) -> None:
    assert load_profile(profile).witnessed == kernels


def test_the_platform_of_sapphire_rapids_is_metered_on_the_first_package_only() -> None:
    assert values(load_profile("sapphirerapids-2s"), 0x64D) == [123456, 0]


def test_cascade_lake_ap_has_two_dies_that_count_alone() -> None:
    profile = load_profile("cascadelake-ap-2s")
    assert profile.topology.dies_per_package == 2
    assert len(set(values(profile, 0x611))) == 4


def test_each_core_of_zen_has_a_counter_and_zen_4_counts_beyond_32_bits() -> None:
    assert len(load_profile("zen2-epyc-2s").core_registers) == 32
    assert all(value < 2**32 for value in values(load_profile("zen2-epyc-2s"), 0xC001029A))
    assert all(value >= 2**32 for value in values(load_profile("zen4"), 0xC001029A))
