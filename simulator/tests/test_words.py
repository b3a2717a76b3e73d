# SPDX-License-Identifier: Apache-2.0
"""Words that lie in memory: what a read finds and what a write leaves, on silicon and in a table."""

from collections.abc import Callable
from errno import EIO, ENXIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_simulator.hardware.cell import Access
from raplica_simulator.hardware.registers import lookup
from raplica_simulator.hardware.words import WordSpace

U64 = st.integers(0, 2**64 - 1)
LIMIT, STATUS, UNIT, PLAIN = 0x59A0, 0x593C, 0x5938, 0x100
LOCK = 1 << 63


def space(
    *, silicon: bool, steps: Callable[[], int] | None = None, packages: tuple[int, ...] = (0, 1)
) -> tuple[WordSpace, list[tuple[int, int]]]:
    changed: list[tuple[int, int]] = []
    words = WordSpace(
        "mmio",
        silicon=silicon,
        packages=packages,
        rules=lambda _, offset: lookup(offset, None, "mmio"),
        meter=lambda _, offset: (steps, 0xFFFFFFFF) if steps and offset == STATUS else None,
        changed=lambda package, offset: changed.append((package, offset)),
        log=[],
    )
    return words, changed


def errno_of(call: Callable[..., object], *arguments: object) -> int | None:
    try:
        call(*arguments)
    except OSError as error:
        return error.errno
    return 0


def test_on_silicon_memory_answers_0_where_there_is_nothing_and_takes_no_write_there() -> None:
    words, _ = space(silicon=True)
    assert words.read(LIMIT) == 0
    words.write(LIMIT, 5)
    assert (words.read(LIMIT), words.content(LIMIT), list(words.addresses()), words.packages()) == (0, None, [], [])


def test_in_a_table_a_word_that_is_not_there_faults() -> None:
    words, _ = space(silicon=False)
    assert (errno_of(words.read, LIMIT), errno_of(words.write, LIMIT, 5)) == (EIO, EIO)
    words.poke(LIMIT, 7)
    assert words.read(LIMIT) == 7


@given(old=U64, new=U64)
def test_on_silicon_a_limit_keeps_its_reserved_bits_and_a_locked_one_everything(old: int, new: int) -> None:
    words, _ = space(silicon=True)
    rules = lookup(LIMIT, None, "mmio")
    assert rules is not None
    words.poke(LIMIT, old)
    words.write(LIMIT, new)
    assert words.read(LIMIT) == (old if old & LOCK else old & rules.reserved | new & ~rules.reserved)


@given(old=U64, new=U64)
@pytest.mark.parametrize("offset", [UNIT, STATUS])
def test_on_silicon_a_write_to_a_word_that_is_read_only_is_lost(offset: int, old: int, new: int) -> None:
    words, _ = space(silicon=True)
    words.poke(offset, old)
    words.write(offset, new)
    assert words.read(offset) == old


@given(old=U64, new=U64, mask=U64, locks=U64)
def test_a_table_knows_only_its_masks(old: int, new: int, mask: int, locks: int) -> None:
    words, _ = space(silicon=False)
    words.poke(STATUS, old)
    words.write_mask(STATUS, mask)
    words.ignore_when_locked(STATUS, locks)
    words.write(STATUS, new)
    assert words.read(STATUS) == (old if old & locks else old & ~mask | new & mask)


@pytest.mark.parametrize("silicon", [True, False])
@pytest.mark.parametrize("offset", [LIMIT, PLAIN])
def test_an_injected_fault_holds_until_it_is_healed(offset: int, *, silicon: bool) -> None:
    words, _ = space(silicon=silicon)
    words.poke(offset, 3)
    words.inject(offset, "both", ENXIO)
    assert (errno_of(words.read, offset), errno_of(words.write, offset, 4)) == (ENXIO, ENXIO)
    words.inject(offset, "read", None)
    assert (words.read(offset), errno_of(words.write, offset, 4)) == (3, ENXIO)
    words.inject(offset, "both", None)
    words.write(offset, 4)
    assert words.read(offset) == 4


def test_packages_have_words_of_their_own_and_others_do_not_exist() -> None:
    words, changed = space(silicon=True)
    words.poke(PLAIN, 1, package=1)
    words.write(PLAIN, 2, package=1)
    assert (words.content(PLAIN), words.read(PLAIN, 1), words.packages()) == (None, 2, [1])
    assert changed == [(1, PLAIN), (1, PLAIN)]
    with pytest.raises(ValueError, match="there is no MMIO of package 2; the packages are 0, 1"):
        words.read(PLAIN, 2)
    words.clear()
    assert (words.content(PLAIN, 1), changed[2:]) == (None, [(1, PLAIN)])


@pytest.mark.parametrize(("offset", "value"), [(-8, 0), (1 << 32, 0), (0, -1), (0, 1 << 64)])
def test_what_is_no_offset_or_no_64_bit_value_is_refused(offset: int, value: int) -> None:
    words, _ = space(silicon=False)
    with pytest.raises(ValueError, match="does not fit"):
        words.poke(offset, value)


@given(start=U64, counted=st.integers(0, 2**40))
def test_a_counter_wraps_in_its_low_half_and_goes_on_from_what_is_poked(start: int, counted: int) -> None:
    now = [0]
    words, _ = space(silicon=True, steps=lambda: now[0])
    words.poke(STATUS, start)
    now[0] = counted
    high, low = start & ~0xFFFFFFFF, start & 0xFFFFFFFF
    assert words.read(STATUS) == high | (low + counted) & 0xFFFFFFFF
    words.poke(STATUS, 5)
    now[0] += 3
    assert words.read(STATUS) == 8


def test_the_log_names_package_reader_and_space_and_a_fault_is_eio() -> None:
    words, changed = space(silicon=False)
    words.poke(LIMIT, 0xFF, package=1)
    assert words.driver_read(1, 7, LIMIT, 0x0F) == 0x0F
    words.driver_write(1, 7, LIMIT, 0xF0, 0x30)
    assert errno_of(words.driver_read, 0, 7, LIMIT, 1) == EIO
    words.inject(LIMIT, "write", ENXIO, package=1)
    assert errno_of(words.driver_write, 1, 7, LIMIT, 1, 1) == ENXIO
    assert words.log == [
        Access("r", 1, 7, LIMIT, 0x0F, 0x0F, 0xFF, 0, "mmio"),
        Access("w", 1, 7, LIMIT, 0xF0, 0x30, 0x3F, 0, "mmio"),
        Access("r", 0, 7, LIMIT, 1, 0, 0, EIO, "mmio"),
        Access("w", 1, 7, LIMIT, 1, 1, 0x3F, ENXIO, "mmio"),
    ]
    assert str(words.log[1]) == "w die1 cpu7 0x59a0 mask=0xf0 val=0x30 reg=0x3f err=0"
    assert changed == [(1, LIMIT), (1, LIMIT)]
