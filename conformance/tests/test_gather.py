# SPDX-License-Identifier: Apache-2.0
"""From options to subjects: each once, in order, and none where there is no powercap."""

from pathlib import Path

import pytest

from raplica_conformance import loop
from raplica_conformance.clause import load_clauses
from raplica_conformance.gather import GatherError, Request, gather
from raplica_conformance.selection import pair, select
from raplica_conformance.subjects import real
from raplica_conformance.subjects.windows import DEFAULT
from raplica_fixtures import mac_ids, profile_ids

RECORDINGS = Path(__file__).resolve().parents[2] / "fixtures" / "recordings"


def names(request: Request) -> list[str]:
    gathered = gather(request)
    gathered.close()
    return [subject.name for subject in gathered.subjects]


def test_with_nothing_asked_for_it_is_every_built_in_machine_and_the_reader_on_it() -> None:
    wanted = [name for machine in profile_ids() for name in (f"{machine}@6.12", f"raplica-reader:{machine}@6.12")]
    windows, macs = [f"windows:{one}" for one in DEFAULT], [f"powermetrics:{one}" for one in mac_ids()]
    assert names(Request()) == [*wanted, *windows, *macs]
    assert names(Request(kernel="6.12")) == wanted


def test_a_built_in_mac_is_judged_by_its_id_and_any_other_word_is_a_command() -> None:
    assert names(Request(powermetrics=("macbook-m1", "true -x"))) == [
        "powermetrics:macbook-m1",
        "true -x",
    ]


def test_a_subject_named_twice_is_judged_once() -> None:
    machines = ("kabylake", "zen4", "kabylake")
    assert names(Request(machines=machines, kernel="6.1")) == [
        *("kabylake@6.1", "raplica-reader:kabylake@6.1"),
        *("zen4@6.1", "raplica-reader:zen4@6.1"),
    ]


def test_a_tree_or_a_recording_is_judged_alone_and_the_kernel_is_that_of_machines_and_trees(right_tree: Path) -> None:
    recording = str(RECORDINGS / "skx_2s-6.1.json.xz")
    gathered = gather(Request(trees=(str(right_tree),), recordings=(recording,), kernel="6.12"))
    assert [(subject.name, subject.kernel) for subject in gathered.subjects] == [
        (f"recording:{recording}", "6.1.192"),
        (f"tree:{right_tree}", "6.12"),
    ]


def test_two_files_that_call_their_machine_the_same_are_two_subjects(tmp_path: Path) -> None:
    content = (RECORDINGS / "skx_2s-6.1.json.xz").read_bytes()
    paths = [tmp_path / name for name in ("one.json.xz", "two.json.xz")]
    for path in paths:
        path.write_bytes(content)
    assert names(Request(machines=tuple(map(str, paths))))[::2] == [f"{path}@6.1" for path in paths]


def test_a_recording_may_also_be_a_machine() -> None:
    recording = str(RECORDINGS / "skx_2s-6.1.json.xz")
    plain, *_ = gather(Request(machines=(recording,))).subjects
    newer, *_ = gather(Request(machines=(recording,), kernel="6.12")).subjects
    assert (plain.kernel, newer.kernel) == ("6.1.192", "6.12.117")


@pytest.mark.parametrize(
    ("request_", "complaint"),
    [
        (Request(live=True), "--tree DIR"),
        (Request(real=True, kernel="6.12"), "this machine"),
        (Request(recordings=("x",), kernel="6.12"), "its own kernel"),
        (Request(trees=("no such folder",)), "no such folder: is no directory"),
        (Request(machines=("no-such-machine",)), "no-such-machine"),
        (Request(machines=("kabylake",), kernel="5.10"), "nearest"),
        (Request(trees=(".",), kernel="abc"), "--kernel 'abc' is not a kernel version"),
        (Request(trees=(".",), kernel=""), "--kernel is empty"),
        (Request(kernel=""), "--kernel is empty"),
    ],
)
def test_a_wrong_wish_is_one_line(request_: Request, complaint: str) -> None:
    with pytest.raises(GatherError, match=complaint) as refused:
        gather(request_)
    assert "\n" not in str(refused.value)


def test_a_machine_without_powercap_is_noted_and_not_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(real.RealMachine.__init__, "__defaults__", (str(tmp_path),))
    gathered = gather(Request(real=True))
    assert gathered.subjects == []
    (line,) = gathered.nothing_in
    assert line.startswith("no /sys/class/powercap here")


def test_a_real_tree_is_judged_by_reading_alone(right_tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(real.RealMachine.__init__, "__defaults__", (str(right_tree),))
    gathered = gather(Request(real=True))
    before = {path: path.lstat() for path in right_tree.rglob("*")}
    verdicts = loop.run(pair(select(load_clauses(), ("powercap.*",)), gathered.subjects))
    gathered.close()
    words = {verdict.verdict for verdict in verdicts}
    # A folder is no sysfs, so sizes and the like fail; nothing may break, and nothing is written.
    assert words <= {"pass", "fail", "not-applicable"}
    assert sum(verdict.verdict == "pass" for verdict in verdicts) >= 20
    after = {path: path.lstat() for path in right_tree.rglob("*")}
    assert {path: (stat.st_mtime_ns, stat.st_ctime_ns) for path, stat in after.items()} == {
        path: (stat.st_mtime_ns, stat.st_ctime_ns) for path, stat in before.items()
    }
