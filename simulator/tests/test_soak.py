# SPDX-License-Identifier: Apache-2.0
"""A hundredth of the soak, by the code that does all of it, and whether that code notices what it is there for."""

import json
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soak import remains
from soak.counting import PERIOD, Course, Judge
from soak.cycles import CyclesReport
from soak.reader import Reader
from soak.reads import MAY_GROW_KIB, ReadsReport

SOAK = Path(__file__).resolve().parents[1] / "soak" / "soak.py"
# One step in a nanosecond: what is said below about time and about the counter is the same number.
PLAIN = Course(Fraction(1), 0)


def soaked(tmp_path: Path, half: str) -> dict[str, object]:
    found = tmp_path / "found.json"
    done = subprocess.run(
        [sys.executable, SOAK, "--scale", "0.01", "--only", half, "--json", found],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(found.read_text())[half]
    assert report["wrong"] == []
    assert isinstance(report, dict)
    return report


@pytest.mark.slow
@pytest.mark.usefixtures("mounts")
def test_ten_processes_read_counters_that_wrap_and_all_is_right(tmp_path: Path) -> None:
    found = soaked(tmp_path, "reads")
    assert found["processes"] == 10
    assert 100_000 <= int(str(found["reads"])) < 100_200
    assert set(found["by_way"]) == {"pread", "open", "bytes", "msr"}  # type: ignore[call-overload]


@pytest.mark.slow
@pytest.mark.usefixtures("places")
def test_what_is_started_and_killed_leaves_nothing_behind(tmp_path: Path) -> None:
    found = soaked(tmp_path, "cycles")
    assert int(str(found["cycles"])) >= 5
    assert sum(found["killed"].values()) == 2  # type: ignore[attr-defined]


# Who judges is judged.


@given(
    first=st.integers(0, PERIOD - 1),
    rate=st.fractions(Fraction(1, 1000), Fraction(100)),
    grid_ns=st.integers(1, 1000),
    spans=st.lists(st.tuples(*[st.integers(0, 10**6)] * 4), min_size=1, max_size=30),
)
def test_a_counter_that_keeps_its_course_is_always_right(
    first: int, rate: Fraction, grid_ns: int, spans: list[tuple[int, int, int, int]]
) -> None:
    judge = Judge(Course(rate, -int(-rate * grid_ns // 1)))
    now_ns = wraps = 0
    last = -1
    for pause_ns, before_ns, after_ns, longer in spans:
        began_ns = now_ns + pause_ns * (1 + longer % 1000)
        read_ns = began_ns + before_ns
        now_ns = read_ns + after_ns
        raw = (first + int(rate * (read_ns - read_ns % grid_ns))) % PERIOD
        assert judge.judge(raw, began_ns, now_ns) == ""
        wraps += raw < last
        last = raw
    assert judge.wraps == wraps
    assert judge.unsure <= len(spans)


@pytest.mark.parametrize(
    ("raw", "wrong"),
    [
        (5_000, ""),
        (4_990, ""),
        (5_010, ""),
        (4_000, "stale"),
        (4_500, "behind"),
        (3_000, "behind"),
        (6_000, "ahead"),
        (0, "behind"),
    ],
)
def test_a_value_from_another_moment_is_told_from_one_of_this_one(raw: int, wrong: str) -> None:
    judge = Judge(PLAIN)
    # The counter is 4000 ahead of the clock, and a read takes 10 ns.
    for moment in (0, 1000):
        assert judge.judge(moment + 3000, moment - 10, moment) == ""
    assert judge.judge(raw, 1990, 2000) == wrong
    # A fault is forgotten: what follows is held against what was right.
    assert judge.judge(6000, 2990, 3000) == ""


def test_a_wrap_is_no_step_backward_and_a_step_backward_no_wrap() -> None:
    judge = Judge(PLAIN)
    assert judge.judge(PERIOD - 500, 0, 10) == ""
    assert judge.judge(500, 1000, 1010) == ""
    assert judge.wraps == 1
    assert judge.judge(100, 1100, 1110) == "behind"
    assert judge.judge(PERIOD - 1, 1200, 1210) == "behind"
    assert (judge.wraps, judge.unsure) == (1, 0)


def test_a_read_that_took_longer_than_a_period_says_nothing_and_is_counted() -> None:
    judge = Judge(PLAIN)
    assert judge.judge(0, 0, 10) == ""
    assert judge.judge(PERIOD // 2, 20, 20 + PERIOD) == ""
    assert judge.unsure == 1


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (b"", "empty"),
        (b"12", "torn"),
        (b"12\n34\n", "torn"),
        (b"012\n", "torn"),
        (b"-1\n", "torn"),
        (b"1001\n", "torn"),
        (b"12 \n", "torn"),
        (b"1000\n", None),
    ],
)
@pytest.mark.parametrize("way", ["pread", "open", "bytes"])
def test_a_text_that_is_no_number_in_range_is_found_in_every_way_of_reading(
    tmp_path: Path, way: str, text: bytes, wrong: str | None
) -> None:
    file = tmp_path / "energy_uj"
    file.write_bytes(text)
    found = Reader(way, str(file), 0, 61_035, 1000, PLAIN).run(100)
    assert isinstance(found["faults"], dict)
    if wrong is not None:
        assert found["faults"] == {wrong: found["values"]}
    else:
        # It is right once, and stands still from then on: what is never stale never moves.
        assert 0 < found["faults"].get("stale", 0) < int(str(found["values"]))


def test_a_register_of_another_length_or_with_high_bits_is_torn(tmp_path: Path) -> None:
    device = tmp_path / "msr"
    for word in (b"1234567", bytes(7) + b"\1"):
        device.write_bytes(bytes(0x611) + word)
        assert Reader("msr", str(device), 0x611, 1, 1, PLAIN).run(3)["faults"] == {"torn": 3}


def test_what_a_run_found_is_said_a_line_each() -> None:
    assert ReadsReport(10, wraps=1).wrong == []
    bad = ReadsReport(1, faults={"torn": 2}, growth_kib=MAY_GROW_KIB + 1, descriptors=(7, 8))
    assert [line.split()[0] for line in bad.wrong] == ["2", "the", "the", "no"]
    assert CyclesReport().as_json()["wrong"] == []


def test_a_process_is_found_whatever_it_has_made_of_its_environment_session_and_parent() -> None:
    # Its parent ends at once; it tells its number, and waits to be told to end.
    gone = "import os\nif os.fork() == 0:\n    os.setsid()\n    print(os.getpid(), flush=True)\n    os.read(0, 1)"
    remains.adopt_orphans()
    try:
        with subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", gone], env={}, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as parent:
            assert parent.stdin is not None
            assert parent.stdout is not None
            orphan = int(parent.stdout.readline())
            parent.wait()
            assert {parent.pid, orphan} & set(remains.descendants()) == {orphan}
            parent.stdin.close()
            # It is ours now: nobody else can tell that it has ended.
            assert os.waitpid(orphan, 0) == (orphan, 0)
    finally:
        remains.adopt_orphans(adopt=False)
    assert orphan not in remains.descendants()


@pytest.mark.usefixtures("mounts")
def test_a_mount_is_found_and_a_file_too(tmp_path: Path) -> None:
    from raplica_simulator.live.machine import start
    from raplica_simulator.surfaces.fuse import FuseMount

    place = tmp_path / "one" / "m"
    with FuseMount(start("kabylake"), place):
        assert str(place) in {one.place for one in remains.mounts()}
    assert str(place) not in {one.place for one in remains.mounts()}
    assert remains.files(tmp_path) == [str(tmp_path / "one"), str(place)]
