# SPDX-License-Identifier: Apache-2.0
"""The picture of truth against answer, whatever was spent and said."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from raplica_conformance.readers.reading import MOST_UJ
from raplica_conformance.reports.plot import plot

energies = st.one_of(st.none(), st.integers(0, 10**15))
answers = st.one_of(
    st.integers(-MOST_UJ + 1, MOST_UJ - 1).map(lambda uj: f"{uj} uJ"), st.sampled_from(["", "unknown", "error (EIO)"])
)
samples = st.lists(
    st.fixed_dictionaries({"at_s": st.floats(0, 1e9, allow_nan=False), "spent_uj": energies, "said": answers}),
    max_size=8,
)


def timeline(*rows: tuple[float, int | None, str]) -> dict[str, Any]:
    found = [{"at_s": at_s, "spent_uj": spent_uj, "said": said} for at_s, spent_uj, said in rows]
    return {"domain": "package-0", "samples": found}


@given(samples, st.booleans())
def test_every_sample_lies_within_the_frame_whatever_was_said(
    rows: list[dict[str, Any]],
    counters: bool,  # noqa: FBT001
) -> None:
    rows.sort(key=lambda row: row["at_s"])
    picture = plot({"domain": "d", "samples": rows}, counters=counters)
    spent = [row for row in rows if row["spent_uj"] is not None]
    if picture is None:
        assert not spent or not any(row["said"] for row in rows)
        return
    assert sum(map(len, picture.truth)) == len(spent)
    assert sum(map(len, picture.answer)) + len(picture.silent) == len(rows)
    for mark in [mark for run in (*picture.truth, *picture.answer, picture.silent) for mark in run]:
        assert picture.left <= mark.x <= picture.right
        assert picture.top <= mark.y <= picture.bottom
    for ticks in (picture.across, picture.up):
        assert 2 <= len(ticks) <= 12
        assert len({tick.at for tick in ticks}) == len(ticks)


def test_a_sample_without_an_answer_is_a_gap_and_says_why() -> None:
    picture = plot(timeline((0, 0, "0 uJ"), (1, 10**6, "error (EIO)"), (2, 2 * 10**6, "2000000 uJ")))
    assert picture is not None
    assert [len(run) for run in picture.answer] == [1, 1]
    assert [mark.told for mark in picture.silent] == ["1 s: error (EIO)"]
    assert [len(run) for run in picture.truth] == [3]
    assert picture.unit == "J"
    assert picture.told == "package-0: 2 J were spent in the end, and the reader's last answer is 2 J."


def test_counters_are_drawn_from_the_first_answer_on_and_energies_as_they_are_said() -> None:
    rows = ((0.0, 0, "5000000 uJ"), (1.0, 10**6, "6000000 uJ"))
    counted, said = plot(timeline(*rows), counters=True), plot(timeline(*rows))
    assert counted is not None
    assert said is not None
    assert [(mark.x, mark.y) for mark in counted.answer[0]] == [(mark.x, mark.y) for mark in counted.truth[0]]
    assert said.answer[0][0].told == "0 s: answered 5 J"


def test_at_the_baseline_nothing_has_been_spent_whether_the_reader_says_so_or_not() -> None:
    picture = plot(timeline((0, 0, ""), (1, 10**9, "1000000000 uJ")))
    assert picture is not None
    assert picture.silent == ()
    assert picture.unit == "kJ"


def test_there_is_no_picture_without_truth_or_without_any_answer() -> None:
    assert plot(timeline()) is None
    assert plot(timeline((0, None, "0 uJ"), (1, None, "1 uJ"))) is None
    assert plot(timeline((0, 0, ""), (1, 5, ""))) is None
    never = plot(timeline((0, 0, "unknown"), (1, 5, "unknown")))
    assert never is not None
    assert never.told.endswith("and the reader never gave an energy.")
    assert never.unit == "uJ"
