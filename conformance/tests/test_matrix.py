# SPDX-License-Identifier: Apache-2.0
"""The matrix: readers are judged side by side, and a run that was stopped goes on."""

import json
import re
import sys
from html import unescape
from pathlib import Path
from typing import Any

import click
import pytest

from raplica_conformance.readers.adapter import find_adapter
from raplica_simulator.surfaces import namespace

from .matrix_run import TWO, measure

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


@pytest.fixture
def naive(tmp_path: Path) -> str:
    path = tmp_path / "naive.toml"
    path.write_text(NAIVE)
    return str(path)


def said(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def verdicts(document: dict[str, Any]) -> dict[tuple[str, str], str]:
    return {(one["tool"], one["case"]): one["verdict"] for one in document["results"]}


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
