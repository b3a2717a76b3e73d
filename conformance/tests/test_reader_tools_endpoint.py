# SPDX-License-Identifier: Apache-2.0
"""The drivers of programs with a page, each with a server of pages that are known."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from raplica_conformance.readers.tools import endpoint, exporter

from .stand_in import answers, energies, program

SERVER = """#!{python} -ISsE
import http.server, socketserver, sys
values = iter({pages!r})
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(next(values).encode())
    def log_message(self, *_):
        pass
server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1].rpartition(":")[2]) if sys.argv[1:] else 0), Page)
sys.stderr.write(f'level=info msg="Listening on" address=127.0.0.1:{{server.server_port}}\\n')
sys.stderr.flush()
server.serve_forever()
"""


def server(folder: Path, *pages: str) -> str:
    return str(program(folder, "server", SERVER.format(python=sys.executable, pages=list(pages))))


EXPORTER = """#!/bin/sh
exec {server}
"""


def exporter_of(folder: Path, page: str) -> str:
    """A program that takes the options of the real one, and any port."""
    return str(program(folder, "exporter", EXPORTER.format(server=server(folder, page))))


def test_the_exporter_is_scraped_once_where_it_says_that_it_listens(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = 'node_rapl_package_joules_total{index="0",path="x"} 1.5\n'
    assert exporter.main(exporter_of(tmp_path, page)) == 0
    assert json.loads(capsys.readouterr().out) == {"package-0": 1_500_000, "total": 1_500_000}


def test_an_exporter_without_energies_says_whether_its_collector_failed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exporter.main(exporter_of(tmp_path, 'node_scrape_collector_success{collector="rapl"} 0\n')) == 1
    assert capsys.readouterr().err == "its page says that the collector failed\n"
    assert exporter.main(str(program(tmp_path, "mute", "#!/bin/sh\n"))) == 1
    assert capsys.readouterr().err == "its page has no energy\n"
    assert dict(exporter.energies('node_rapl_core_joules_total{index="1"} 2\n')) == {"package-1/core": 2_000_000}


def scraped(command: str, url: str = "http://127.0.0.1:{port}/metrics", *options: str) -> int:
    zones = ("--zone", "uj=package-{n}", "--zone", "j=total", "--unit-uj", "2")
    return endpoint.main(["--url", url, *zones, *options, "--", command, "127.0.0.1:{port}"])


@pytest.fixture
def no_child_left() -> Iterator[None]:
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    before = children.read_text()
    yield
    assert children.read_text() == before


@pytest.mark.usefixtures("no_child_left")
def test_an_endpoint_has_a_port_of_its_own_and_is_started_anew_with_each_machine(
    tmp_path: Path, asked: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    command = server(tmp_path, 'uj{n="0"} 5\nj 1\n', 'uj{n="0"} 7\nuj{n="1"} 9\nj 4\n')
    asked("sample", "start", "sample", "start", "stop", "sample")
    assert scraped(command) == 0
    assert [energies(one) for one in answers(capsys)] == [
        {},
        {"package-0": 0, "total": 0},
        {"package-0": 4, "total": 6},
        {"package-0": 0, "total": 0},
        {},
    ]


@pytest.mark.parametrize(
    ("source", "options", "why"),
    [
        ("#!/bin/sh\nexit 3\n", (), "the program ended with status 3"),
        ("#!/bin/sh\nexec sleep 60\n", ("--start-s", "0.1"), "no page within 0.1 s: <urlopen error"),
    ],
)
def test_an_endpoint_that_does_not_come_up_is_told(
    source: str,
    options: tuple[str, ...],
    why: str,
    tmp_path: Path,
    asked: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
    no_child_left: None,  # noqa: ARG001
) -> None:
    asked("start")
    assert scraped(str(program(tmp_path, "server", source)), "http://127.0.0.1:{port}/", *options) == 0
    (answer,) = answers(capsys)
    assert answer["ok"] is False
    assert why in answer["problem"]


def test_a_port_that_somebody_has_already_is_not_scraped(
    tmp_path: Path, asked: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert endpoint.listeners(port) == {os.getpid()}
        asked("start")
        assert scraped(server(tmp_path, "j 1\n"), f"http://127.0.0.1:{port}/") == 0
    assert answers(capsys) == [{"ok": False, "problem": f"port {port} is taken: by process {os.getpid()}"}]
    assert endpoint.listeners(port) == set()


@pytest.mark.parametrize(
    ("found", "who"), [({1}, "1"), (set(), "nobody who is still there"), ({1 << 30}, f"{1 << 30}")]
)
def test_a_page_of_somebody_else_does_not_count(
    found: set[int],
    who: str,
    tmp_path: Path,
    asked: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Who has taken the port between our look and the start of the program."""
    calls = iter([set[int](), found])
    monkeypatch.setattr(endpoint, "listeners", lambda _port: next(calls))
    asked("start")
    assert scraped(server(tmp_path, "j 1\n")) == 0
    (answer,) = answers(capsys)
    assert answer["problem"].endswith(f"was answered by {who}, and not by the program")
