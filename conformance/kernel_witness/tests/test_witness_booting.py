# SPDX-License-Identifier: Apache-2.0
"""What is tried again, what is kept, and what is told, with virtual machines that only say what they are told to."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from kernel_witness import booting
from kernel_witness.booting import Bench
from kernel_witness.failure import WitnessError
from kernel_witness.judging import report_in
from kernel_witness.kernels import Kernel
from kernel_witness.logs import said_in
from kernel_witness.machines import load_description
from kernel_witness.record import pairs, record_all
from raplica_fixtures.recording import load_recording

DIR = {"mode": "0755", "nlink": 2, "uid": 0, "gid": 0, "size": 0, "blksize": 4096, "blocks": 0, "type": "dir"}
WHOLE: tuple[dict[str, Any], ...] = (
    {"head": {"kernel": "6.12.117+deb12-amd64", "kernel_version": "#1 SMP Debian 6.12.117-1"}},
    {"op": "tree", "label": "as loaded", "entries": [{"path": "/sys/class/powercap", **DIR, "order": []}]},
    {"end": {"dmesg": ["Linux version 6.12.117"]}},
)


def text(*lines: dict[str, Any]) -> str:
    return "".join(json.dumps(line) + "\n" for line in lines)


@dataclass
class Machines:
    """An emulator whose machines say one text after the other; None is one that does not go off."""

    says: list[str | None] = field(default_factory=list)
    given: list[bytes] = field(default_factory=list)

    def boot(self, _image: Path, files: Path, _cpu: str, _smp: str, told: Path, timeout_s: float) -> None:
        said = self.says.pop(0)
        self.given.append(files.read_bytes())
        told.write_text(said or "", encoding="utf-8")
        told.with_suffix(".serial").write_text("console", encoding="utf-8")
        if said is None:
            raise WitnessError(f"the machine was not off after {timeout_s:g} s")


@pytest.fixture
def machines() -> Machines:
    return Machines()


@pytest.fixture
def bench(machines: Machines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(booting, "Archive", lambda _cache: None)
    monkeypatch.setattr(booting, "get_emulator", lambda _archive: machines)
    monkeypatch.setattr(booting, "get_python", lambda _archive: None)
    monkeypatch.setattr(booting, "base_files", lambda _python: {})
    kernel = Kernel("6.12", "6.12.117+deb12-amd64", Path("/none"), {"our": b"module"})
    monkeypatch.setattr(booting, "get_kernel", lambda *_: kernel)
    return Bench(tmp_path / "cache")


def test_a_boot_that_fails_is_tried_again(
    bench: Bench, machines: Machines, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machines.says += [None, text(*WHOLE[:2]), text(*WHOLE)]
    machine = load_description("no-rapl")
    answer = bench.run(machine, "6.12", {"task": "record"}, said_in, tmp_path / "failed")
    assert answer is not None
    assert answer[0] == list(WHOLE)
    assert b"m/our.ko" in machines.given[0]
    told = capsys.readouterr().out
    assert "no-rapl-6.12: attempt 1 of 3: the machine was not off after 900 s\n" in told
    assert "no-rapl-6.12: attempt 2 of 3: the machine stopped after 2 lines\n" in told
    assert (tmp_path / "failed").read_text(encoding="utf-8") == text(*WHOLE[:2])
    assert (tmp_path / "failed.serial").read_text(encoding="utf-8") == "console"


def test_after_three_boots_it_is_given_up(bench: Bench, machines: Machines, tmp_path: Path) -> None:
    machines.says += [None, None, None, text(*WHOLE)]
    assert bench.run(load_description("no-rapl"), "6.12", {}, said_in, tmp_path / "failed") is None
    assert len(machines.says) == 1


def test_a_step_that_failed_is_not_tried_again(bench: Bench, machines: Machines, tmp_path: Path) -> None:
    machines.says += [text(WHOLE[0], {"failed": "Traceback\nKeyError: 3\n"}), text(*WHOLE)]
    assert bench.run(load_description("no-rapl"), "6.12", {}, said_in, tmp_path / "failed") is None
    assert len(machines.says) == 1


def test_each_machine_becomes_a_recording_and_each_failure_is_counted(
    bench: Bench, machines: Machines, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machines.says += [text(*WHOLE), text(WHOLE[0], {"failed": "KeyError: 3"})]
    wanted = pairs([load_description("no-rapl"), load_description("zen5")], ["6.12"])
    assert record_all(bench, wanted, tmp_path / "out") == 1
    recording = load_recording(tmp_path / "out" / "no-rapl-6.12.json.xz")
    assert (recording.machine, recording.kernel_full, len(recording.steps)) == ("no-rapl", "6.12.117", 1)
    assert "1 of 2: no-rapl-6.12.json.xz: 1 steps, " in capsys.readouterr().out


def test_a_log_that_is_no_recording_is_told_in_one_line(
    bench: Bench, machines: Machines, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machines.says.append(text(WHOLE[0], WHOLE[1], {"op": "dance"}, WHOLE[2]))
    assert record_all(bench, pairs([load_description("no-rapl")], ["6.12"]), tmp_path / "out") == 1
    error = capsys.readouterr().err
    assert error == "witness: no-rapl-6.12.json.xz: probes[1]: is not what a witness writes: KeyError 'dance'\n"


def test_machines_are_paired_with_the_kernels_that_they_are_meant_for() -> None:
    machines = [replace(load_description("zen5"), name="odd", kernels=("6.12", "7.2")), load_description("no-rapl")]

    def paired(kernels: tuple[str, ...] | None) -> list[tuple[str, str]]:
        return [(machine.name, series) for machine, series in pairs(machines, kernels)]

    assert paired(("6.1", "6.12")) == [("no-rapl", "6.1"), ("odd", "6.12"), ("no-rapl", "6.12")]
    assert paired(None) == [("no-rapl", "6.1"), ("odd", "6.12"), ("no-rapl", "6.12"), ("odd", "7.2")]
    assert paired(("7.2",)) == [("odd", "7.2"), ("no-rapl", "7.2")]


def test_a_report_is_taken_from_what_the_machine_said() -> None:
    report: dict[str, object] = {
        "op": "report",
        "kernel": "6.12.117",
        "report": {"results": []},
        "careful": None,
        "careful_status": 0,
    }
    found = report_in(text({"head": {}}, {"op": "verdict", "id": "a"}, report, {"end": {}}))
    assert found["kernel_release"] == "6.12.117"
    assert found["report"] == {"results": []}
    assert "op" not in found


def test_a_machine_that_died_while_it_judged_is_told_with_the_last_clause() -> None:
    said = text({"head": {}}, {"op": "verdict", "id": "a.b"}, {"op": "verdict", "id": "a.c"}, {"end": {}})
    with pytest.raises(WitnessError, match=r"no report came back; the last clause judged was a\.c"):
        report_in(said)
