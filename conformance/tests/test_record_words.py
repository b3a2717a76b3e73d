# SPDX-License-Identifier: Apache-2.0
"""`conformance record`: what is told at the end."""

import errno
from dataclasses import replace
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from raplica_conformance.record.telling import told
from raplica_fixtures.recording import (
    Capture,
    CounterFacts,
    Entry,
    Hint,
    ReadResult,
    Recording,
    RecordingError,
    dump_recording,
    from_json,
    load_recording,
    to_json,
)
from raplica_fixtures.schema_check import load_schema

from .record_files import PLAIN, POWERCAP, entry


def recording_with(capture: Capture, **more: object) -> Recording:
    return replace(PLAIN, capture=capture, **more)  # type: ignore[arg-type]


def test_the_words_say_what_was_read_refused_and_left_out() -> None:
    zone = f"{POWERCAP}/intel-rapl/intel-rapl:0"
    tree = {
        f"{zone}/energy_uj": replace(entry(""), read=ReadResult(open_errno=errno.EACCES)),
        f"{zone}/name": entry("package-0\n"),
        **{f"{zone}/f{n}": replace(entry(""), read=ReadResult(errno=errno.EIO)) for n in range(4)},
        f"{zone}/gone": Entry(kind="missing", errno=errno.ENOENT),
    }
    facts = CounterFacts(f"{zone}/energy_uj", 10, 5, 10_000_000, 9, 100_000, 1_000_000, 1, 2, 61, 61_035)
    capture = Capture("x", 0, hints=(Hint("/f", "a sign"),), left_out=("a", "b"), counters=(facts,))
    lines = told(recording_with(capture, tree=tree, registers={0: {0x606: 1}}))
    measured = (
        "intel-rapl:0: a change every 1.000 ms (median of 5, read every 0.100 ms), the least 61 uJ; "
        "a unit of 61035 nJ explains all"
    )
    assert lines == (
        "what, Linux 6.12.1",
        "tree: 7 entries, of which 6 did not read (1 energy_uj EACCES, 1 f0 EIO, 1 f1 EIO, 1 f2 EIO and others)",
        "registers: 1 on 1 die",
        measured,
        "/f: a sign",
        "left out: a; b",
    )
    unknown = told(recording_with(replace(capture, counters=(replace(facts, unit_nj=None),))))
    assert unknown[3].endswith("; no known unit explains all")


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "each one faults"),
        (errno.EPERM, "the msr device wants CAP_SYS_RAWIO, and no lockdown"),
        (errno.ENXIO, "ENXIO"),
    ],
)
def test_why_there_are_no_registers_is_said(number: int, words: str) -> None:
    assert told(recording_with(Capture("x", 0, msr_errno=number)))[2] == f"registers: none ({words})"


def test_a_witnesss_recording_has_no_circumstances_to_tell_of() -> None:
    with pytest.raises(TypeError, match="only a recording of a running machine"):
        told(PLAIN)


def test_the_circumstances_survive_a_file(tmp_path: Path) -> None:
    capture = Capture(
        "x",
        1000,
        ("CAP_SYS_RAWIO",),
        errno.EPERM,
        "A CPU",
        ("pts",),
        4,
        "sysfs",
        ("msr",),
        (Hint("/f", "a sign"),),
        {"board_name": "b"},
        ("names",),
        {"user": "u"},
        (CounterFacts("a/energy_uj", 1, 0, 2, 0, 2), CounterFacts("b/energy_uj", 9, 3, 2, 7, 2, 1, 1, 1, 2, 61_035)),
    )
    recording = recording_with(capture)
    dump_recording(recording, tmp_path / "machine.json")
    assert load_recording(tmp_path / "machine.json") == recording
    document = to_json(recording)
    Draft202012Validator(load_schema("recording-1.json")).validate(document)
    with pytest.raises(RecordingError, match=r"^capture\.uid: -1 is out of range: 0 to 4294967295$"):
        from_json({**document, "capture": {**document["capture"], "uid": -1}})
