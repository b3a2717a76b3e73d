# SPDX-License-Identifier: Apache-2.0
"""`conformance record`: counters that are watched."""

import errno
import os
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_conformance.record.counters import UNITS_NJ, facts_of, sample, unit_of
from raplica_fixtures.recording import (
    CounterFacts,
)

from .record_files import POWERCAP, entry, files, zones


@given(
    st.sampled_from([unit for unit in UNITS_NJ if unit > 2000]),
    st.integers(0, 2**20),
    st.lists(st.integers(1, 2000), min_size=1, max_size=30),
)
def test_a_unit_that_a_counter_counts_in_is_explained_by_itself_or_a_multiple(
    unit_nj: int, start: int, counts: list[int]
) -> None:
    raw = [start]
    for count in counts:
        raw.append(raw[-1] + count)
    shown = [value * unit_nj // 1000 for value in raw]
    steps = [after - before for before, after in pairwise(shown)]
    found = unit_of([step for step in steps if step])
    assert found is not None
    assert found >= unit_nj


def test_the_units_of_real_machines_are_told_apart() -> None:
    for unit_nj in (61_035, 15_258, 15_300, 976_562, 3_814):
        raw = [7, 8, 20, 33, 47, 62, 1000, 1001, 4003]
        shown = [value * unit_nj // 1000 for value in raw]
        assert unit_of([after - before for before, after in pairwise(shown)]) == unit_nj
    assert unit_of([]) is None
    assert unit_of([1, 2, 3]) is None


def test_a_wrap_counts_as_energy_and_without_a_range_as_nothing() -> None:
    facts = facts_of("p", [0, 10, 20, 31], [90, 95, 5, 15], 8, 40, 100)
    assert facts == CounterFacts("p", 8, 3, 40, 25, 5, 10, 10, 11, 5, None)
    assert facts_of("p", [0, 10, 20, 31], [90, 95, 5, 15], 8, 40, None).drawn_uj == 15
    assert facts_of("p", [], [], 0, 40, None) == CounterFacts("p", 0, 0, 40, 0, 0)


def test_counters_are_read_in_turn_until_the_time_is_over_and_one_that_fails_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = zones("package-0", "package-1", "package-2")
    tree[f"{POWERCAP}/intel-rapl/intel-rapl:0/max_energy_range_uj"] = entry("1000000\n")
    gone = f"{POWERCAP}/intel-rapl/intel-rapl:2/energy_uj"
    files(tmp_path, {path: "1\n" for path in tree if path != gone})
    now_ns = 0
    values: dict[int, int] = {}

    def clock() -> int:
        nonlocal now_ns
        now_ns += 1_000_000
        return now_ns

    def pread(handle: int, *_: int) -> bytes:
        values[handle] = values.get(handle, 0) + 61_035
        if len(values) == 2 and handle == max(values) and values[handle] > 300_000:
            raise OSError(errno.ENODEV, "gone")
        return b"%d\n" % (values[handle] // 1)

    monkeypatch.setattr(os, "pread", pread)
    parts: list[float] = []
    found = sample(tmp_path, tree, 0.5, parts.append, clock)
    assert [facts.path.split("/")[4] for facts in found] == ["intel-rapl:0"]
    assert found[0].smallest_step_uj == 61_035
    assert found[0].changes == found[0].reads - 1
    assert found[0].span_ns >= 500_000_000
    assert parts == sorted(parts)
    assert 0 < len(parts) <= 7


@pytest.mark.parametrize("text", ["-1", str(1 << 64), "9" * 60, "x"])
def test_what_is_no_count_of_the_kernel_is_no_counter(text: str, tmp_path: Path) -> None:
    tree = zones("package-0")
    counter = f"{POWERCAP}/intel-rapl/intel-rapl:0/energy_uj"
    tree[f"{POWERCAP}/intel-rapl/intel-rapl:0/max_energy_range_uj"] = entry("9" * 5000)
    files(tmp_path, {counter: text})
    assert sample(tmp_path, tree, 0.001, lambda _part: None) == ()
