# SPDX-License-Identifier: Apache-2.0
"""What readers print, in the forms in which they print it."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_conformance.readers.extract import UNITS, read_extractor
from raplica_conformance.readers.plug import STATUSES, TOTAL, ReaderFault, Reading

METRICS = """\
# HELP node_rapl_package_joules_total Current RAPL value in joules
# TYPE node_rapl_package_joules_total counter
node_rapl_package_joules_total{index="0",path="/sys/class/powercap/intel-rapl:0"} 1.5
node_rapl_package_joules_total{index="1",path="/sys/class/powercap/intel-rapl:1"} 2.5e+00 1700000000000
node_rapl_dram_joules_total{index="0",path="/sys/class/powercap/intel-rapl:0:0"} 0.25
node_scrape_collector_success{collector="rapl"} 1
"""


@pytest.mark.parametrize(
    ("how", "unit", "output", "wanted"),
    [
        ("json", "uJ", '{"intel-rapl:0": 5, "total": 7}', {"intel-rapl:0": 5, TOTAL: 7}),
        ("json", "J", '{"package-0/dram": 0.1}', {"package-0/dram": 100_000}),
        ("json:a.b", "mJ", '{"a": {"b": {"package-0": "1.5"}}}', {"package-0": 1500}),
        ("json:energy", "Wh", '{"energy": 0.001}', {TOTAL: 3_600_000}),
        ("json:zones[id].energy_uj", "uJ", '{"zones": [{"id": "a", "energy_uj": 4}]}', {"a": 4}),
        ("json:z[n].e.uj", "uJ", '{"z": [{"n": 3, "e": {"uj": 4}}]}', {"3": 4}),
        (r"regex:^(?P<zone>\S+): (?P<energy>\S+) J$", "mJ", "pkg: 1.5 J\nram: 2 J\n", {"pkg": 1500, "ram": 2000}),
        (r"regex:(?P<energy>[\d.]+) W\*s", "W*s", "1 W*s then 3 W*s", {TOTAL: 3_000_000}),
        ("prometheus:node_rapl_*_joules_total", "J", METRICS, {TOTAL: 4_250_000}),
        (
            "prometheus:node_rapl_*_joules_total{path}",
            "J",
            METRICS,
            {"intel-rapl:0": 1_500_000, "intel-rapl:1": 2_500_000, "intel-rapl:0:0": 250_000},
        ),
        ("csv:energy_consumed", "kWh", "run,energy_consumed\n1,1e-6\n2,2e-6\n", {TOTAL: 7_200_000}),
        ("csv:uj{zone}", "uJ", "zone,uj\npackage-0,3\ntotal,4\n", {"package-0": 3, TOTAL: 4}),
    ],
)
def test_an_energy_is_found_where_the_extractor_says(how: str, unit: str, output: str, wanted: dict[str, int]) -> None:
    answer = read_extractor(how, unit).answer(output)
    assert {zone: reading.energy_uj for zone, reading in answer.items()} == wanted
    assert {reading.status for reading in answer.values()} == {"ok"}


def test_what_is_unknown_is_no_number() -> None:
    answer = read_extractor().answer('{"a": null, "b": "", "c": NaN, "d": {"error": "EACCES"}, "e": "nan"}')
    assert answer["d"] == Reading(None, "error", "EACCES")
    assert {answer[zone] for zone in "abce"} == {Reading(None, "unknown")}


def test_an_object_says_its_energy_its_status_and_its_error() -> None:
    output = json.dumps({"zones": [{"id": "a", "energy_j": None, "status": "reset", "error": "ESTALE"}, {"id": "b"}]})
    answer = read_extractor("json:zones[id].energy_j", "J").answer(output)
    assert answer == {"a": Reading(None, "reset", "ESTALE"), "b": Reading(None, "unknown")}
    assert read_extractor("json", "J").answer('{"a": {"energy_j": 2}}') == {"a": Reading(2_000_000)}


def test_several_extractors_are_put_together() -> None:
    both = read_extractor(["json:zones[id].uj", "json:total.uj"])
    answer = both.answer('{"zones": [{"id": "a", "uj": 1}], "total": {"uj": 2}}')
    assert answer == {"a": Reading(1), TOTAL: Reading(2)}


def test_zones_have_the_names_that_an_adapter_gives_them() -> None:
    answer = read_extractor("json", "uJ", {"cpu package 0": "package-0"}).answer('{"cpu package 0": 1}')
    assert answer == {"package-0": Reading(1)}


@pytest.mark.parametrize(
    ("how", "output", "why"),
    [
        ("json", "", "printed nothing"),
        ("json", " \n", "printed nothing"),
        ("json", "hello", "no JSON"),
        ("json", "[" * 100_000, "no JSON"),
        ("json", "[1]", "leads to a list"),
        ("json", '{"a": true}', "no number"),
        ("json", '{"a": [1]}', "no number"),
        ("json", '{"a": "lots"}', "no number"),
        ("json", '{"a": 1e999999}', "no number"),
        ("json:a.b", '{"a": 1}', "has no 'b'"),
        ("json:a[id].b", '{"a": {}}', "is no list"),
        ("json:a[id].b", '{"a": [{}]}', "has no 'id'"),
        (r"regex:(?P<energy>\d+)", "none", "asks for"),
        ("json", '{"a": Infinity}', "no number"),
        ("json", '{"a": 1e99999999999999999999}', "of a it says '1e99999999999999999999', which is no number"),
        ("json", f'{{"a": {"9" * 5000}}}', "no number"),
        ("json", f'{{"a": {1 << 127}}}', "an energy of 128 bits"),
        ("json:a[id].b", '{"a": [{"id": true}]}', "is no name"),
        ("prometheus:x", "y one two three", "asks for"),
        ("prometheus:x{zone}", "x 1", "asks for"),
        ("prometheus:x", "x 9e999999\nx 9e999999", "the metric x is '9e999999', which is no number"),
        ("prometheus:x", "x one", "no number"),
        ("csv:a", "b\n1\n", "no column 'a'"),
        ("csv:a{b}", "a,b\n1\n", "ends before the column 'b'"),
        ("csv:b", "a,b\n1,2\n1\n", "ends before the column 'b'"),
        ("csv:a", f'a,b\n"{"x" * 200_000}",2', "is no CSV"),
        ("csv:a", "x", "no column 'a'"),
    ],
)
def test_what_cannot_be_understood_is_the_readers_fault_in_one_line(how: str, output: str, why: str) -> None:
    with pytest.raises(ReaderFault, match=why) as raised:
        read_extractor(how).answer(output)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 400


@pytest.mark.parametrize(
    ("how", "output"),
    [
        ("json", "{}"),
        ("json:zones[id].uj", '{"zones": []}'),
        ("json:zones[id].uj", '{"zones": null}'),
        ("json:result.energies", '{"result": {}}'),
        ("json:result.energies", "{}"),
        ("prometheus:rapl_*", "# HELP rapl_joules Energy\n# TYPE rapl_joules counter\n"),
        ("prometheus:rapl_*{path}", "up 1\n"),
        ("csv:energy", "run,energy\n"),
        ("csv:energy{zone}", "zone,energy"),
    ],
)
def test_a_form_with_nothing_in_it_is_an_answer_without_zones(how: str, output: str) -> None:
    assert read_extractor(how).answer(output) == {}
    assert read_extractor([how, "regex:(?P<energy>Joules)"]).answer(output) == {}


def test_a_sum_with_an_unknown_part_is_unknown_and_one_of_tiny_parts_is_none() -> None:
    assert read_extractor("prometheus:x").answer("x 1\nx NaN") == {TOTAL: Reading(None, "unknown")}
    assert read_extractor("prometheus:x").answer("x 1e-9999\nx 0.4e-300") == {TOTAL: Reading(0)}


@pytest.mark.parametrize(
    ("how", "unit"),
    [
        ("xml", "uJ"),
        ("regex:", "uJ"),
        ("regex:(", "uJ"),
        ("regex:x", "uJ"),
        ("regex:(?P<energy>x){99999999999999999999}", "uJ"),
        (f"regex:{'(' * 5000}", "uJ"),
        (f"regex:{'(' * 5000}{')' * 5000}", "uJ"),
        ("regex:(?P<energy>x)(?<=a*)", "uJ"),
        ("json:a[b", "uJ"),
        (f"json:{'[' * 5000}", "uJ"),
        ("json", "erg"),
    ],
)
def test_an_extractor_that_cannot_be_is_refused_in_one_short_line(how: str, unit: str) -> None:
    with pytest.raises(ValueError, match=r"extractor|group|regex|step|unit") as raised:
        read_extractor(how, unit)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 400


@given(
    energies=st.dictionaries(
        st.text(min_size=1).filter(lambda zone: not zone.startswith("/")),
        st.none() | st.integers(-(10**18), 10**18),
        min_size=1,
    ),
    unit=st.sampled_from(sorted(UNITS)),
)
def test_whole_numbers_come_through_every_unit_exactly(energies: dict[str, int | None], unit: str) -> None:
    answer = read_extractor("json", unit).answer(json.dumps(energies))
    assert {zone: reading.energy_uj for zone, reading in answer.items()} == {
        zone: None if number is None else round(number * UNITS[unit]) for zone, number in energies.items()
    }


HOW = ("json", "json:a.b", "json:a[b].c", "regex:(?P<zone>\\w+)? ?(?P<energy>\\S+)", "prometheus:*", "prometheus:*{a}")
TABLES = ("csv:a", "csv:a{b}")
NAMES = st.sampled_from(["a", "b", "c", "energy", "energy_uj", "status", "error", "total"]) | st.text(max_size=3)
NUMBERS = st.one_of(
    st.integers(),
    st.floats(),
    st.integers(-(10**500), 10**500),
    st.decimals().map(str),
    st.sampled_from(
        ["1e99999999999999999999", "9e999999", "-1e-99999999", "0e99999999", "1_0", "\u0663", "\ud800", ""]
    ),
)
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=5),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(NAMES, below, max_size=3),
    max_leaves=12,
)


def understood_or_faulted(how: str, output: str) -> None:
    """Nothing but an answer that can be calculated with and printed, or a fault."""
    with contextlib.suppress(ReaderFault):
        for reading in read_extractor(how, "kWh").answer(output).values():
            assert reading.status in STATUSES
            assert (reading.error or "").isprintable()
            assert reading.energy_uj is None or float(reading.energy_uj) == pytest.approx(reading.energy_uj)


@given(st.sampled_from((*HOW, *TABLES)), st.text())
def test_no_output_at_all_makes_an_extractor_crash(how: str, output: str) -> None:
    understood_or_faulted(how, output)


@given(st.sampled_from(HOW), DOCUMENTS)
def test_no_document_makes_an_extractor_crash(how: str, document: object) -> None:
    understood_or_faulted(how, json.dumps(document))


@given(st.sampled_from(HOW), st.lists(st.tuples(NAMES, NUMBERS)))
def test_no_metric_makes_an_extractor_crash(how: str, samples: list[tuple[str, object]]) -> None:
    understood_or_faulted(how, "\n".join(f'{name}{{a="{name}"}} {value}' for name, value in samples))


@given(st.sampled_from(TABLES), st.lists(st.lists(NUMBERS.map(str) | NAMES, max_size=4)), st.sampled_from(",\0\"'"))
def test_no_table_makes_an_extractor_crash(how: str, rows: list[list[str]], comma: str) -> None:
    understood_or_faulted(how, "\n".join(["a,b", *(comma.join(row) for row in rows)]))


@given(st.text())
def test_no_text_after_extract_is_more_than_refused(text: str) -> None:
    for kind in ("", "json:", "regex:(?P<energy>x)", "prometheus:", "csv:"):
        with contextlib.suppress(ValueError):
            assert read_extractor(f"{kind}{text}").text == f"{kind}{text}"
