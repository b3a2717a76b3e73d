# SPDX-License-Identifier: Apache-2.0
"""The matrix: tools are judged by what they claim, side by side, and a run that was stopped goes on."""

import json
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from html import unescape
from io import StringIO
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_conformance import matrix_tools, matrix_worker
from raplica_conformance.matrix import MatrixOptions, run_matrix
from raplica_conformance.matrix_fit import fitted, kind_of, unfit
from raplica_conformance.matrix_report import Matrix, render, render_failures
from raplica_conformance.matrix_results import Result, Results, ResultsError, origin
from raplica_conformance.matrix_show import Shown, progress
from raplica_conformance.matrix_tools import EVERYTHING, QUICK, TOOLS, Tool, tools_named
from raplica_conformance.readers.adapter import adapter_ids, find_adapter
from raplica_conformance.readers.subject import PluggedReader
from raplica_conformance.readers.tools import endpoint, exporter
from raplica_fixtures.cases import case_ids, load_case
from raplica_simulator.surfaces import namespace

placed = pytest.mark.skipif(
    namespace.obstacle() is not None, reason=f"no machine can be put into place here: {namespace.obstacle()}"
)

# A tool with the fixed path that real ones have: it reads the first package, and knows no wrap.
NAIVE = """
kind    = "oneshot"
command = ["{python}", "-m", "raplica_conformance.readers.placed", "{sysfs}", "--",
           "sh", "-c", "echo package-0 $(cat /sys/class/powercap/intel-rapl:0/energy_uj)"]
extract = 'regex:(?P<zone>\\S+) (?P<energy>\\d+)'
counter = true
"""
TWO = ("arithmetic/one-wrap", "topology/package-alone")


@pytest.fixture
def naive(tmp_path: Path) -> str:
    path = tmp_path / "naive.toml"
    path.write_text(NAIVE)
    return str(path)


def measure(**options: Any) -> int:
    return run_matrix(MatrixOptions(**options))


def said(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def verdicts(document: dict[str, Any]) -> dict[tuple[str, str], str]:
    return {(one["tool"], one["case"]): one["verdict"] for one in document["results"]}


def test_tools_have_adapters_and_the_quick_set_is_of_cases_that_there_are() -> None:
    assert {tool.name for tool in TOOLS} <= set(adapter_ids())
    assert set(QUICK) <= set(case_ids())
    for tool in TOOLS:
        assert tool.speaks_of <= EVERYTHING
        assert find_adapter(tool.name).plug().kind in ("stepped", "oneshot", "timed")


@placed
def test_readers_are_judged_side_by_side_and_the_wrong_one_is_told_from_the_right_one(
    naive: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert measure(tools=("raplica-reader-stepped", naive), cases=TWO, as_json=True) == 0
    document = said(capsys)
    assert [tool["title"] for tool in document["tools"]] == ["raplica-reader", "naive"]
    found = verdicts(document)
    assert found["raplica-reader-stepped", "arithmetic/one-wrap"] == "pass"
    assert found[naive, "arithmetic/one-wrap"] in ("fail", "not-applicable")
    assert found[naive, "topology/package-alone"] == "pass"


@pytest.mark.slow
@placed
def test_a_run_goes_on_where_it_was_stopped_unless_what_it_came_from_has_changed(
    naive: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "results.jsonl"
    measure(tools=(naive,), cases=(TWO[1],), results=file)
    assert "1 verdicts to be made" in capsys.readouterr().err
    measure(tools=(naive,), cases=(TWO[1],), results=file)
    assert "to be made" not in capsys.readouterr().err
    path = Path(naive)
    path.write_text(path.read_text() + "title = 'changed'\n")
    measure(tools=(naive,), cases=(TWO[1],), results=file)
    assert "1 verdicts to be made" in capsys.readouterr().err
    measure(tools=(naive,), cases=(TWO[1],), results=file, afresh=True)
    assert "1 verdicts to be made" in capsys.readouterr().err
    assert len(file.read_text().splitlines()) == 1


@placed
def test_reports_are_written_in_each_format_and_the_page_asks_for_nothing(naive: str, tmp_path: Path) -> None:
    files = [tmp_path / f"matrix.{form}" for form in ("txt", "md", "json", "html")]
    assert measure(tools=(naive,), cases=("topology/every-zone",), reports=tuple(files)) == 0
    text, markdown, document, page = (file.read_text() for file in files)
    assert re.search(r"^topology/every-zone +FAIL$", text, re.MULTILINE)
    assert "| topology/every-zone | FAIL |" in markdown
    assert json.loads(document)["results"][0]["details"]["timelines"]
    assert "prefers-color-scheme: dark" in page
    assert f'id="{naive}/topology/every-zone"' in page
    assert "default-src 'none'" in unescape(page)
    assert not re.search(r"<script [^>]*src|<link|<img|@import|url\(|\son[a-z]+=", page)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"tools": ("no-such-tool",)}, "there is no such program"),
        ({"cases": ("no/such",)}, "there is no such case"),
        ({"cases": ("units/*",), "full": True}, "--full is every case"),
        ({"reports": (Path("matrix.pdf"),)}, "must end in .txt, .md, .json, .html"),
        ({"results": Path("/no/such/folder/file")}, "does not exist; make it first"),
    ],
)
def test_what_is_asked_in_a_wrong_way_is_refused_in_one_line(options: dict[str, Any], why: str) -> None:
    with pytest.raises(click.UsageError) as raised:
        measure(**options)
    assert why in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_file_that_holds_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("milk\n")
    with pytest.raises(ResultsError, match=r"notes\.txt:1: is no result"):
        Results(file)
    assert file.read_text() == "milk\n"


def test_a_tool_that_is_not_here_is_named_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = "https://example.org/thing"
    thing = Tool("scaphandre", "thing", program="no-such-program", home=home, is_tried=False)
    assert thing.missing == (
        f"no-such-program is not installed, and Debian has no package of it: {home}; the adapter is written from its "
        "documentation and has never met the program"
    )
    monkeypatch.setattr("raplica_conformance.matrix.tools_named", lambda _names: (thing,))
    assert measure(tools=("scaphandre",)) == 3
    assert f"   -  thing: {thing.missing}\n" in capsys.readouterr().out
    assert "apt-get install thing" in Tool("x", "x", program="no-such-program", distribution="thing").missing
    assert "RAPLICA_TOOLS_PYTHON" in Tool("x", "x", package="no_such_package", distribution="thing").missing


def test_a_tool_is_asked_of_what_it_speaks_of_alone() -> None:
    case = load_case("topology/every-zone")
    everything = Tool("x", "x")
    assert fitted(case, everything) is case
    memory = fitted(case, replace(everything, speaks_of=frozenset({"dram"})))
    assert memory is not None
    assert [expect.domain for expect in memory.expects] == ["package-0/dram", "package-1/dram"]
    assert fitted(case, replace(everything, speaks_of=frozenset({"psys"}))) is None


def test_a_tool_that_shows_watts_now_and_then_is_not_asked_about_a_moment() -> None:
    case = load_case("arithmetic/wrap-in-the-first-interval")
    tool = Tool("x", "x", shortest_s=4)
    assert unfit(case, tool) == "the case is over in 1 s, and the tool is asked about 4 s at the least"
    assert unfit(case, replace(tool, shortest_s=1)) == ""
    assert unfit(load_case("topology/every-zone"), replace(tool, speaks_of=frozenset({"psys"}))) == (
        "the tool speaks of psys, and the case is about something else"
    )


def test_the_whole_is_what_a_tool_calls_so_and_watts_need_not_be_exact() -> None:
    case = load_case("topology/all-sockets")
    tool = Tool("x", "x", speaks_of=frozenset({"total"}), total_is=frozenset({"package"}), within=Fraction(1, 50))
    fit = fitted(case, tool)
    assert fit is not None
    (expect,) = fit.expects
    assert expect.of == ("package-0", "package-1")
    # Two sockets of 100 and 30 W, for ten seconds.
    assert expect.tolerance_uj == 26_000_000


@given(st.sampled_from(["package-0", "package-15-die-3", "psys", "total", "package-0/dram", "package-0/power", "x"]))
def test_every_domain_has_a_kind(domain: str) -> None:
    assert kind_of(domain) in EVERYTHING


def test_what_came_out_of_a_tool_is_shown_as_text_and_not_as_markup() -> None:
    tool = Tool("x", "<b>x</b>")
    reason = "it says <script>alert(1)</script> | and"
    result = Result("x", "1", "topology/every-zone", "", "fail", reason, 0.1, "conformance run")
    matrix = Matrix((tool,), {"x": "1"}, {"x": ""}, ("topology/every-zone",), {("x", "topology/every-zone"): result})
    assert "<script>alert" not in render(matrix, "html")
    assert "<script>" not in render(matrix, "md")
    assert "\\|" in render(matrix, "md")
    assert reason in render_failures(matrix)
    assert matrix.counted(tool) == "0/1"


def test_a_result_belongs_to_the_version_of_the_tool() -> None:
    (tool,) = tools_named(("raplica-reader-stepped",))
    assert origin(tool, "1", "arithmetic/one-wrap") != origin(tool, "2", "arithmetic/one-wrap")
    assert Tool.from_json(json.loads(json.dumps(tool.as_json()))) == replace(tool, version=Tool("x", "x").version)


def test_the_exporters_page_is_read_as_a_query_reads_it() -> None:
    page = (
        'node_rapl_package_joules_total{index="0",path="/sys/class/powercap/intel-rapl:0"} 10\n'
        'node_rapl_package_joules_total{index="0",path="/sys/class/powercap/intel-rapl-mmio:0"} 10\n'
        'node_rapl_dram_joules_total{index="0",path="/sys/class/powercap/intel-rapl:0:0"} 1.5e+00\n'
        'node_rapl_core_joules_total{index="0",path="/sys/class/powercap/intel-rapl:0:1"} 4\n'
        'node_rapl_package_0_die_1_joules_total{index="0"} 7\n'
    )
    assert dict(exporter.energies(page)) == {
        "package-0": 20_000_000,
        "package-0/dram": 1_500_000,
        "package-0/core": 4_000_000,
        "package-0-die-1": 7_000_000,
        "total": 28_500_000,
    }


def test_samples_of_an_endpoint_become_zones_by_rules() -> None:
    rules = [endpoint.Rule.parse(text) for text in ('j{zone="dram"}=total', "j=package-{n}/{zone}", "p={path}")]
    page = (
        '# TYPE j counter\nj{zone="dram",n="0"} 2\nj{zone="dram",n="1"} 3 1700000000\np{path="/sys/x/intel-rapl:0"} 1\n'
    )
    assert endpoint.energies_uj(page, rules, 1e6) == {
        "total": 5e6,
        "package-0/dram": 2e6,
        "package-1/dram": 3e6,
        "intel-rapl:0": 1e6,
    }
    with pytest.raises(ValueError, match="is no rule"):
        endpoint.Rule.parse("=x")


ENDPOINT = """
import http.server, pathlib
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
        uj = pathlib.Path("/sys/class/powercap/intel-rapl:0/energy_uj").read_text().strip()
        self.wfile.write(f'uj{{n="0"}} {uj}\\n'.encode())
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Page).serve_forever()
"""


@placed
def test_a_program_with_an_endpoint_is_kept_running_and_started_anew_for_each_machine(
    tmp_path: Path, unused_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "server.py"
    program.write_text(ENDPOINT.replace("PORT", str(unused_port)))
    adapter = tmp_path / "served.toml"
    words = ["{python}", "-m", "raplica_conformance.readers.tools", "--stepped", "endpoint"]
    words += [
        "--url",
        f"http://127.0.0.1:{unused_port}/",
        "--zone",
        "uj=package-{n}",
        "--",
        sys.executable,
        str(program),
    ]
    adapter.write_text(f"kind = 'stepped'\ncommand = {json.dumps(words)}\n")
    assert find_adapter(str(adapter)).kind == "stepped"
    cases = ("topology/package-alone", "arithmetic/an-hour")
    measure(tools=(str(adapter),), cases=cases, as_json=True)
    assert verdicts(said(capsys))[str(adapter), "topology/package-alone"] == "pass"


@pytest.fixture
def unused_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_a_verdict_is_made_again_by_the_matrix_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAPLICA_TOOLS_PYTHON", raising=False)
    case = "topology/all-sockets"
    assert Tool("my tool.toml", "x").again(case) == f"conformance matrix 'my tool.toml' --case {case}"
    monkeypatch.setenv("RAPLICA_TOOLS_PYTHON", "/opt/my tools/bin/python")
    assert Tool("rdmsr", "x").again(case) == f"conformance matrix rdmsr --case {case}"
    assert Tool("perun", "x", package="perun").again(case) == (
        f"RAPLICA_TOOLS_PYTHON='/opt/my tools/bin/python' conformance matrix perun --case {case}"
    )


def judged(tool: Tool, *cases: str) -> tuple[int, Callable[[pytest.CaptureFixture[str]], list[dict[str, Any]]]]:
    status = matrix_worker.main(json.dumps(tool.as_json()), *cases)
    return status, lambda capsys: [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_process_of_the_matrix_says_each_verdict_as_it_is_made(capsys: pytest.CaptureFixture[str]) -> None:
    memory = Tool("raplica-reader", "x", speaks_of=frozenset({"dram"}))
    cases = ("topology/every-zone", "topology/psys-takes-a-number")
    status, documents = judged(memory, *cases)
    found = documents(capsys)
    assert status == 0
    assert [(one["case"], one["verdict"]) for one in found] == [(cases[0], "pass"), (cases[1], "pass")]
    assert found[0]["again"] == "conformance matrix raplica-reader --case topology/every-zone"
    status, documents = judged(replace(memory, speaks_of=frozenset({"psys"})), cases[0])
    (one,) = documents(capsys)
    assert (status, one["verdict"]) == (0, "not-applicable")
    assert "speaks of psys" in one["reason"]


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt, 130), (BrokenPipeError, 141)])
def test_a_process_of_the_matrix_that_is_not_listened_to_any_more_ends_its_reader(
    error: type[BaseException], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[str] = []
    monkeypatch.setattr(PluggedReader, "close", lambda reader: closed.append(reader.name))

    def verdict(*_arguments: object) -> None:
        raise error

    monkeypatch.setattr(matrix_worker, "_verdict", verdict)
    monkeypatch.setattr("os.dup2", lambda *_: None)
    assert judged(Tool("raplica-reader", "x"), "topology/every-zone")[0] == status
    assert closed == ["raplica-reader"]


def a_worker(monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    """What judges, replaced by something else."""
    monkeypatch.setattr("raplica_conformance.matrix.WORKER", [sys.executable, "-I", "-S", "-c", source])


def test_a_process_of_the_matrix_that_breaks_down_makes_its_cases_broken_and_they_are_judged_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    a_worker(monkeypatch, "raise SystemExit(1)")
    file = tmp_path / "results.jsonl"
    assert measure(tools=("raplica-reader",), cases=TWO, results=file) == 3
    printed = capsys.readouterr()
    assert re.search(r"^arithmetic/one-wrap +BROKEN$", printed.out, re.MULTILINE)
    assert "raplica-reader: arithmetic/one-wrap: the process that judges ended without a verdict" in printed.out
    assert "[2/2] raplica-reader: " in printed.err
    measure(tools=("raplica-reader",), cases=TWO, results=file)
    assert capsys.readouterr().err.startswith("2 verdicts to be made\n")


def test_an_interrupt_ends_the_processes_and_keeps_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One verdict is made, the next never comes; the process does not even hear of SIGTERM."""
    said = {"case": TWO[1], "verdict": "pass", "reason": "", "took_s": 0, "again": "", "details": None}
    a_worker(
        monkeypatch,
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"print({json.dumps(json.dumps(said))}, flush=True)\n"
        "time.sleep(600)",
    )
    monkeypatch.setattr("raplica_conformance.matrix._END_S", 0.1)

    @contextmanager
    def progress(*_arguments: object, **_options: object) -> Iterator[Callable[[object], None]]:
        yield lambda _shown: os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("raplica_conformance.matrix.progress", progress)
    file = tmp_path / "results.jsonl"
    with pytest.raises(KeyboardInterrupt):
        measure(tools=("raplica-reader",), cases=TWO, results=file)
    assert [json.loads(line)["case"] for line in file.read_text().splitlines()] == [TWO[1]]
    assert capsys.readouterr().out == ""


def test_on_a_terminal_there_is_a_bar_instead_of_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with progress(2, 1, quiet=False) as show:
        show(Shown("tool", "group/case", "pass"))
        show(Shown("tool", "group/other", "fail"))
    shown = terminal.getvalue()
    assert shown.startswith("2 verdicts to be made, 1 are there from before\n")
    assert "[1/2]" not in shown


def test_a_driver_is_asked_once_whether_its_tool_is_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAPLICA_PAPI", str(tmp_path / "none"))
    matrix_tools._asked.cache_clear()
    tool = Tool("papi", "PAPI", driver="papi")
    assert tool.missing.endswith("none: cannot open shared object file: No such file or directory")
    assert tool.version_here() == ""
    assert tool.missing == tool.missing
    assert matrix_tools._asked.cache_info().misses == 1
    matrix_tools._asked.cache_clear()
    monkeypatch.setattr(matrix_tools, "_ASK_S", 0)
    assert tool.missing.startswith("papi cannot be asked for its version: ")
    matrix_tools._asked.cache_clear()


def test_the_version_of_a_tool_is_the_first_number_that_it_prints(tmp_path: Path) -> None:
    path = tmp_path / "thing"
    path.write_text("#!/bin/sh\necho thing v3, release 1.5.0-rc1\n")
    path.chmod(0o755)
    assert Tool("x", "x", program=str(path), distribution="thing").version_here() == "1.5.0"
    assert Tool("x", "x", program=str(tmp_path / "none"), distribution="no-such-thing").version_here() == ""
    assert Tool("x", "x").version_here() == ""
    assert re.fullmatch(r"\d+(\.\d+)+", Tool("x", "x", package="click", distribution="click").version_here())


def test_results_that_cannot_be_read_are_told_with_their_file(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="cannot be read: "):
        Results(tmp_path)
