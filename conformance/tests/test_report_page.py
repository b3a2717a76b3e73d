# SPDX-License-Identifier: Apache-2.0
"""The page for people: all of it is there, it asks for nothing, and no text of a report becomes a part of it."""

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raplica_conformance.clause import Clause
from raplica_conformance.expectations import Expectations
from raplica_conformance.judge import judge
from raplica_conformance.readers.called import CalledPlug
from raplica_conformance.readers.case_clauses import clause_of
from raplica_conformance.readers.plug import Reading
from raplica_conformance.readers.subject import PluggedReader
from raplica_conformance.reports import html
from raplica_conformance.reports import json as json_report
from raplica_conformance.reports.page import measured
from raplica_conformance.reports.portrait import DrawnConstraint, DrawnZone, Portrait
from raplica_conformance.verdicts import VERDICTS, Verdict
from raplica_fixtures.cases import load_case

#: Elements that end where they begin.
VOID = {"meta", "br", "input", "link", "img", "hr"}


class Page(HTMLParser):
    """What stands on a page: elements in order, attributes, texts; begun elements have to be ended."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.inside: dict[str, list[str]] = {}
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.inside.setdefault(self._open[-1] if self._open else "", []).append(data)
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def all(self, name: str) -> list[str]:
        """The values of an attribute."""
        return [value for key, value in self.attributes if key == name]


def rule(name: str = "powercap.sample", text: str = "A rule.") -> Clause:
    return Clause(
        name, "must", text, "shape", f"source {text}", lambda _: None, threads=("https://github.com/a/b/issues/1",)
    )


def everything(text: str) -> str:
    """A page on which the text is wherever somebody else's text may be."""
    verdicts = [
        Verdict(rule(f"powercap.{word}", text), f"one {text}", word, text, ("--tree", text), Told(text))
        for word in VERDICTS
    ]
    limit = DrawnConstraint(0, text, (("limit", text), ("window", "976"), ("most", "150000000")))
    zone = DrawnZone("intel-rapl:0", text, (("energy_uj", text),), (limit,), (DrawnZone(text, ""),))
    portrait = Portrait(f"one {text}", "provider", ((text, text),), (DrawnZone("intel-rapl", "", children=(zone,)),))
    return html.render(verdicts, [portrait, Portrait("two", "provider", note=text)])


@dataclass
class Told:
    """A story, as details of readers are."""

    text: str

    def lines(self) -> Iterator[str]:
        yield self.text

    def as_json(self) -> dict[str, object]:
        samples = [
            {"at_s": at_s, "spent_uj": at_s * 10**6, "counter": None, "seen": self.text, "said": said}
            for at_s, said in enumerate(["0 uJ", f"{10**6} uJ", self.text])
        ]
        timelines = [{"domain": self.text, "samples": samples}]
        return {"effect": self.text, "wrong": [self.text, self.text], "timelines": timelines, "answers": self.text}


def test_every_verdict_is_there_with_its_rule_reason_and_source() -> None:
    page = Page(everything("so it is"))
    for word in VERDICTS:
        assert f"powercap.{word}" in page.text
    assert "8 verdicts" not in page.text
    assert "4 verdicts are wrong." in page.text
    assert page.text.count("source so it is") == len(VERDICTS) + 4
    assert "conformance run powercap.fail --tree 'so it is'" in page.text
    assert "constraint 0 so it is: limit so it is, window 0.000976 s, most 150 W" in page.text
    assert "https://github.com/a/b/issues/1" in page.all("href")
    assert page.tags.count("figure") == 5


def test_every_link_within_the_page_leads_somewhere_and_ids_are_unique() -> None:
    page = Page(everything("x"))
    ids = Counter(page.all("id"))
    assert max(ids.values()) == 1
    within = {link.removeprefix("#") for link in page.all("href") if link.startswith("#")}
    assert {"content", "wrong", "judged", "rules", "subject-0", "subject-1"} == within
    assert within <= set(ids)


def test_the_page_allows_its_own_style_and_script_and_nothing_else() -> None:
    page = Page(everything("x"))
    policy = next(value for value in page.all("content") if "default-src" in value)

    def allowed(tag: str) -> str:
        digest = hashlib.sha256("".join(page.inside[tag]).encode()).digest()
        return f"{tag}-src 'sha256-{base64.b64encode(digest).decode()}'"

    assert policy.split("; ") == [
        "default-src 'none'",
        allowed("style"),
        allowed("script"),
        "base-uri 'none'",
        "form-action 'none'",
    ]
    assert not {"src", "srcset", "style", "action", "data"} & {name for name, _ in page.attributes}
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert not {"link", "img", "iframe", "object", "embed", "base"} & set(page.tags)


HARMLESS = Page(everything("x"))
MARKUP = st.sampled_from(
    ["<", ">", "&", '"', "'", "</script>", "</style>", "<!--", "{{", "{%", "&lt;", "\u202e", "\n", " on=", "x"]
)


@settings(max_examples=25, deadline=None)
@given(st.one_of(st.lists(MARKUP, min_size=1, max_size=6).map("".join), st.text(min_size=1, max_size=20)))
def test_whatever_the_texts_hold_the_page_has_the_same_elements_and_they_do_not_turn_it(text: str) -> None:
    page = Page(everything(text))
    assert page.tags == HARMLESS.tags
    assert [name for name, _ in page.attributes] == [name for name, _ in HARMLESS.attributes]
    assert page.inside["script"] == HARMLESS.inside["script"]
    assert "\u202e" not in page.text


def test_a_thread_that_is_no_address_of_the_web_is_no_link() -> None:
    wrong = Clause("powercap.x", "must", "A rule.", "shape", "here", lambda _: None, threads=("javascript:alert(1)",))
    page = Page(html.render([Verdict(wrong, "one", "fail", "no")]))
    assert not [link for link in page.all("href") if "javascript" in link]
    assert "javascript:alert(1)" in page.text


def test_what_is_said_of_many_subjects_alike_is_said_once() -> None:
    verdicts = [Verdict(rule(), f"machine-{number}", "not-applicable", "nothing of that here") for number in range(9)]
    page = Page(html.render([*verdicts, Verdict(rule(), "machine-9", "pass")]))
    assert page.text.count("nothing of that here") == 1
    assert page.all("data-subjects") == ["9", "0 1 2 3 4 5 6 7 8"] or page.all("data-subjects") == [
        "0 1 2 3 4 5 6 7 8",
        "9",
    ]
    assert "1 pass 9 not-applicable powercap.sample" in page.text


def test_thousands_of_verdicts_make_a_page_that_is_no_larger_than_their_json() -> None:
    rules = [rule(f"powercap.rule-{number}") for number in range(200)]
    verdicts = [
        Verdict(one, f"machine-{number}@6.12", "pass" if number % 3 else "not-applicable", "" if number % 3 else "no")
        for number in range(25)
        for one in rules
    ]
    page = html.render(verdicts)
    assert len(verdicts) == 5000
    assert len(page) < len(json_report.render(verdicts))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["pass"], "Nothing is wrong."),
        (["fail"], "1 verdict is wrong."),
        (["broken", "pass"], "1 verdict is wrong."),
        (["skip"], "Nothing could be judged."),
        ([], "Nothing could be judged."),
    ],
)
def test_the_first_line_says_how_it_ended(words: list[str], told: str) -> None:
    page = Page(html.render([Verdict(rule(f"powercap.x{number}"), "one", word) for number, word in enumerate(words)]))
    assert told in page.text


class Counting:
    """A reader that says what the counter of the first package shows, and calls that the energy."""

    def __init__(self, tree: object, _clock: object) -> None:
        self.tree = tree

    def sample(self) -> None:
        text = self.tree.read("class/powercap/intel-rapl:0/energy_uj")  # type: ignore[attr-defined]
        self.value = int(text)

    def answer(self) -> dict[str, Reading]:
        return {"total": Reading(self.value)}


@pytest.mark.parametrize(("counter", "said"), [(False, "answered"), (True, "answered, since its first answer")])
def test_the_story_of_a_reader_is_drawn_truth_against_answer(counter: bool, said: str) -> None:  # noqa: FBT001
    reader = PluggedReader(CalledPlug("counts", Counting, counter=counter))
    verdict = judge(clause_of(load_case("topology/total-of-packages-and-memory")), reader)
    assert verdict.verdict == "fail"
    assert verdict.details is not None
    told = verdict.details.as_json()
    assert told["answers"] == ("counters" if counter else "energies")
    total = told["timelines"][0]
    assert total["domain"] == "total"
    # The whole is the sum of its parts, which no counter counts.
    assert total["samples"][-1]["spent_uj"] > 0
    assert total["samples"][-1]["counter"] is None
    page = Page(html.render([verdict]))
    assert "svg" in page.tags
    assert said in page.texts
    assert json.loads(json_report.render([verdict]))["results"][0]["details"] == json.loads(json.dumps(told))


class Right(Counting):
    """The same, and it subtracts."""

    first: int | None = None

    def answer(self) -> dict[str, Reading]:
        self.first = self.value if self.first is None else self.first
        return {"package-0": Reading(self.value - self.first)}


def test_what_a_reader_made_right_is_drawn_on_the_page_and_makes_no_other_report_longer() -> None:
    reader = PluggedReader(CalledPlug("right", Right))
    verdict = judge(clause_of(load_case("topology/package-alone")), reader)
    assert verdict.verdict == "pass"
    assert verdict.details is not None
    page = Page(html.render([verdict]))
    assert page.tags.count("figure") == 1
    assert "details" not in json.loads(json_report.render([verdict]))["results"][0]
    listed = judge(
        clause_of(load_case("topology/package-alone")), reader, known=Expectations(((verdict.clause.id, "right"),))
    )
    assert (listed.verdict, listed.details) == ("unexpected-pass", None)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("28000000", "28 W"),
        ("976", "0.000976 W"),
        ("0", "0 W"),
        ("-1", "-0.000001 W"),
        ("ENODATA", "ENODATA"),
        ("", ""),
    ],
)
def test_millionths_are_shown_in_whole_units(text: str, shown: str) -> None:
    assert measured(text, "W") == shown
