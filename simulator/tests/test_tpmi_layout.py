# SPDX-License-Identifier: Apache-2.0
"""TPMI domains of a profile as a row of words, and a recording's words as domains."""

from hypothesis import given
from hypothesis import strategies as st

from raplica_simulator.profile.spaces import spaces_of_table
from raplica_simulator.profile.tpmi_layout import domains_of_words, tpmi_kinds, tpmi_words

WORDS = st.dictionaries(st.sampled_from(range(8, 128, 8)), st.integers(1, 2**64 - 1))
DOMAINS = st.permutations(["system", "package", "memory"]).flatmap(
    lambda names: st.integers(1, 3).flatmap(lambda count: st.fixed_dictionaries(dict.fromkeys(names[:count], WORDS)))
)


@given(DOMAINS)
def test_what_a_profile_lays_out_is_found_again_in_the_words(domains: dict[str, dict[int, int]]) -> None:
    words = tpmi_words({3: domains})[3]
    assert list(words) == sorted(words)
    found = domains_of_words(words)
    assert list(found) == list(domains)
    assert {name: {at: raw for at, raw in one.items() if at} for name, one in found.items()} == domains


@given(DOMAINS)
def test_a_header_that_is_made_up_names_the_registers_that_are_there(domains: dict[str, dict[int, int]]) -> None:
    words = tpmi_words({0: domains})[0]
    for number, registers in enumerate(domains.values()):
        header = words[number * 128]
        assert header >> 16 & 0xFFFF == 1
        flags = {bit for bit in range(16) if header >> 32 + bit & 1}
        assert flags == {offset // 8 for offset in registers if offset < 0x78}


def test_domains_stand_in_the_order_of_the_table_each_with_its_meter() -> None:
    tables = {0: {"package": {8: 1}, "system": {8: 2}}, 1: {"memory": {0: 7}}}
    assert tpmi_kinds(tables) == {(0, 0): "package", (0, 128): "psys", (1, 0): "dram"}
    assert tpmi_words(tables)[1] == {0: 7}
    assert tpmi_words(tables)[0][128 + 8] == 2


def test_a_recorded_table_is_taken_apart_by_what_its_numbers_can_be() -> None:
    header = 0x000003AF00010201
    table = {
        0: {0x0: header, 0x8: 0xA383, 0x606: 1, 0x610: 2, 0x593C: 3, 0x59A0: 4},
        1: {0x0: 0x8000, 0x8: 5, 0x593C: 6},
    }
    msr, mmio, tpmi = spaces_of_table(table)
    # MCHBAR is package 0's alone, and a word without a good header is an MSR.
    assert msr == {0: {0x606: 1, 0x610: 2}, 1: {0x0: 0x8000, 0x8: 5, 0x593C: 6}}
    assert mmio == {0x593C: 3, 0x59A0: 4}
    assert tpmi == {0: {"package": {0x0: header, 0x8: 0xA383}}}
    assert spaces_of_table({0: {0x606: 1}}) == ({0: {0x606: 1}}, None, None)
    assert spaces_of_table({}) == ({}, None, None)
