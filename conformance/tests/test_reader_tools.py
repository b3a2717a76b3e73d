# SPDX-License-Identifier: Apache-2.0
"""The drivers of other people's tools, each with a stand-in for its tool.

The libraries themselves are judged in test_matrix_tools; simulator/tests/clients has every tool as it is.
"""

import json
import os
import sys
import types
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from raplica_conformance.readers import placed
from raplica_conformance.readers.tools import __main__ as starting
from raplica_conformance.readers.tools import endpoint, exporter, library, papi, perun, terminal

HERE = Path(starting.__file__).parent


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own, and programs before all others; the drivers go home, and the test comes back."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let a driver hear lines on its stdin, like `asked("start", "sample")`."""

    def ask(*what: str) -> None:
        monkeypatch.setattr("sys.stdin", StringIO("".join(json.dumps({"do": one}) + "\n" for one in what)))

    return ask


def answers(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def energies(answer: dict[str, Any]) -> dict[str, int | None]:
    assert answer["ok"] is True
    said = {zone["id"]: zone["energy_uj"] for zone in answer.get("zones", ())}
    return {**said, **({"total": answer["total_uj"]} if "total_uj" in answer else {})}


def program(folder: Path, name: str, source: str) -> Path:
    path = folder / name
    path.write_text(source)
    path.chmod(0o755)
    return path


# How a driver is started.


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    commands: list[list[str]] = []

    def main(arguments: list[str]) -> int:
        commands.append(list(arguments))
        return 0

    monkeypatch.setattr(placed, "main", main)
    return commands


def test_a_driver_is_started_by_the_python_that_has_its_tool(
    started: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "lib/python3.99/site-packages/perun"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    monkeypatch.setenv("RAPLICA_TOOLS_PYTHON", str(tmp_path / "bin/python"))
    for words in (
        ("/m/sys", "rdmsr"),
        ("/m/sys", "perun", "perun", "4"),
        ("--stepped", "library", "json"),
        ("--stepped", "endpoint", "--url", "x"),
        ("--stepped", "papi", "rapl"),
    ):
        assert starting.main(words) == 0
    rdmsr, perun_, library_, endpoint_, papi_ = started
    assert rdmsr[:2] == ["/m/sys", "--"]
    assert rdmsr[-1] == str(HERE / "rdmsr.sh")
    theirs = str(tmp_path / "bin/python")
    assert perun_ == ["/m/sys", "--", theirs, "-W", "ignore", str(HERE / "perun.py"), str(tmp_path / "bin/perun"), "4"]
    ours = ["--stepped", "--", sys.executable, "-W", "ignore"]
    assert library_ == [*ours, str(HERE / "library.py"), "json"]
    assert endpoint_ == [*ours, str(HERE / "endpoint.py"), "--url", "x"]
    assert papi_ == [*ours, "-m", "raplica_conformance.readers.tools.papi", "rapl"]


def test_a_tool_that_no_python_has_is_named_with_what_to_do(
    started: list[list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("RAPLICA_TOOLS_PYTHON", raising=False)
    assert starting.main(("--stepped", "library", "no_such_package")) == 127
    assert started == []
    told = capsys.readouterr().err
    assert told.startswith("no_such_package is not installed: name a Python that has it in RAPLICA_TOOLS_PYTHON")
    assert told.count("\n") == 1


# Meters that are Python libraries.


class Tracker:
    """codecarbon's OfflineEmissionsTracker, as far as its interface is used: a kWh more at each flush."""

    def __init__(self, *, output_handlers: list[Any], measure_power_secs: int, **_options: object) -> None:
        assert measure_power_secs > 600  # by itself it does not look
        (self.output,) = output_handlers
        self.flushed = 0

    def start(self) -> None:
        sys.stdout.write("codecarbon says hello\n")

    def flush(self) -> None:
        self.flushed += 1
        self.output.out(types.SimpleNamespace(cpu_energy=self.flushed * 0.5), None)


def module(monkeypatch: pytest.MonkeyPatch, name: str, **members: object) -> None:
    made = types.ModuleType(name)
    vars(made).update(members)
    monkeypatch.setitem(sys.modules, name, made)


@pytest.mark.usefixtures("home")
def test_codecarbon_is_flushed_at_each_sample_and_its_kilowatt_hours_become_microjoules(
    asked: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module(monkeypatch, "codecarbon", OfflineEmissionsTracker=Tracker)
    module(monkeypatch, "codecarbon.output_methods.base_output", BaseOutput=object)
    asked("start", "sample", "sample", "stop")
    assert library.main("codecarbon") == 0
    captured = capsys.readouterr()
    first, second, third, last = map(json.loads, captured.out.splitlines())
    assert [energies(one) for one in (first, second, third)] == [
        {"total": 0},
        {"total": 1_800_000_000_000},
        {"total": 3_600_000_000_000},
    ]
    assert last == {"ok": True, "do": "stop"}
    # What a library prints is no answer.
    assert "codecarbon says hello" in captured.err


@pytest.mark.usefixtures("home")
def test_the_intervals_of_pyjoules_are_added_up_by_the_names_that_domains_have_here(
    asked: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:

    class Meter:
        def __init__(self, devices: list[Any]) -> None:
            self.devices = devices

        def start(self) -> None:
            pass

        def stop(self) -> None:
            pass

        def get_trace(self) -> list[Any]:
            return [types.SimpleNamespace(energy={"package_0": 1000.0, "dram_0": 10.4, "core_1": -3.0})]

    device = types.SimpleNamespace(get_configured_domains=lambda: ["package_0", "dram_0", "core_1"])
    module(monkeypatch, "pyJoules.device", DeviceFactory=types.SimpleNamespace(create_devices=lambda: [device]))
    module(monkeypatch, "pyJoules.energy_meter", EnergyMeter=Meter)
    asked("start", "sample", "sample")
    assert library.main("pyJoules") == 0
    assert [energies(one) for one in answers(capsys)] == [
        {"package-0": 0, "package-0/dram": 0, "package-1/core": 0},
        {"package-0": 1000, "package-0/dram": 10, "package-1/core": -3},
        {"package-0": 2000, "package-0/dram": 21, "package-1/core": -6},
    ]


@pytest.mark.usefixtures("home")
def test_what_pyrapl_knows_nothing_of_stays_unknown(
    asked: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results = iter([([100.0, 50.0], [5.0, -1]), ([100.0, -1], None), ([100.0, 50.0], [5.0, 5.0])])

    class Measurement:
        def __init__(self, label: str) -> None:
            assert label

        def begin(self) -> None:
            pass

        def end(self) -> None:
            pkg, dram = next(results)
            self.result = types.SimpleNamespace(pkg=pkg, dram=dram)

    module(monkeypatch, "pyRAPL", setup=lambda: None, Measurement=Measurement)
    asked("start", "sample", "sample", "sample")
    assert library.main("pyRAPL") == 0
    assert [energies(one) for one in answers(capsys)] == [
        {},
        {"package-0": 100, "package-1": 50, "package-0/dram": 5, "package-1/dram": None},
        {"package-0": 200, "package-1": None, "package-0/dram": None, "package-1/dram": None},
        {"package-0": 300, "package-1": None, "package-0/dram": None, "package-1/dram": None},
    ]


def test_what_a_library_raises_is_a_problem_in_one_line_and_no_answer(
    asked: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("HOME", raising=False)

    def setup() -> None:
        raise OSError(61, "No data\navailable")

    module(monkeypatch, "pyRAPL", setup=setup)
    asked("start", "sample")
    assert library.main("pyRAPL") == 0
    first, second = answers(capsys)
    assert first == {"ok": False, "problem": "pyRAPL raised OSError: [Errno 61] No data available"}
    assert second["ok"] is False


# PAPI, with a library of its interface.


class Papi:
    """libpapi, as far as it is called: two components, and a count that goes up by 1000 at each read."""

    def __init__(self, **refused: int) -> None:
        self.refused = refused
        self.added: list[str] = []
        self.reads = 0
        self.events: list[tuple[str, str]] = []
        self.PAPI_strerror = lambda _status: b"Invalid argument"

    def PAPI_get_opt(self, option: int, _pointer: object) -> int:  # noqa: N802 - PAPI's own names
        assert option == 21
        return 0x07030000

    def PAPI_library_init(self, version: int) -> int:  # noqa: N802
        return self.refused.get("PAPI_library_init", version)

    def PAPI_get_component_index(self, name: bytes) -> int:  # noqa: N802
        events = {
            b"powercap": [
                ("powercap:::ENERGY_UJ:ZONE0", ""),
                ("powercap:::ENERGY_UJ:ZONE0_SUBZONE1", ""),
                ("powercap:::NAME:ZONE0_SUBZONE1", "dram\n"),
                ("powercap:::ENABLED:ZONE0", ""),
            ],
            b"rapl": [
                ("rapl:::PACKAGE_ENERGY:PACKAGE1", "Energy"),
                ("rapl:::PP0_ENERGY:PACKAGE1", "Energy"),
                ("rapl:::PSYS_ENERGY:PACKAGE0", "Energy"),
                ("rapl:::PACKAGE_ENERGY_CNT:PACKAGE1", "Energy in counts"),
            ],
        }
        self.events = self.refused.get("events", events[name])  # type: ignore[assignment]
        return self.refused.get(name.decode(), 2)

    def PAPI_enum_cmp_event(self, code: Any, way: int, index: int) -> int:  # noqa: N802
        assert index == 2
        code._obj.value = 0x40000000 if way == 1 else code._obj.value + 1
        return 0 if code._obj.value - 0x40000000 < len(self.events) else -7

    def PAPI_get_event_info(self, code: Any, info: Any) -> int:  # noqa: N802
        name, description = self.events[code.value - 0x40000000]
        info._obj.symbol, info._obj.long_descr = name.encode(), description.encode()
        return 0

    def PAPI_create_eventset(self, _handle: object) -> int:  # noqa: N802
        return 0

    def PAPI_add_named_event(self, _handle: object, name: bytes) -> int:  # noqa: N802
        self.added.append(name.decode())
        return self.refused.get("PAPI_add_named_event", 0)

    def PAPI_start(self, _handle: object) -> int:  # noqa: N802
        return 0

    def PAPI_read(self, _handle: object, values: Any) -> int:  # noqa: N802
        self.reads += 1
        for place in range(len(self.added)):
            values[place] = self.reads * 1000 * (place + 1)
        return self.refused.get("PAPI_read", 0)


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("component", "said"),
    [
        ("powercap", {"package-0": 2000, "package-0/dram": 4000}),
        ("rapl", {"package-1": 2, "package-1/core": 4, "psys": 6}),
    ],
)
def test_papi_counts_every_energy_of_a_component_in_one_set(
    component: str,
    said: dict[str, int],
    asked: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(papi, "library", Papi)
    asked("start", "sample", "sample", "stop")
    assert papi.main(component) == 0
    first, _, third, _ = answers(capsys)
    assert energies(first) == dict.fromkeys(said, 0)
    assert energies(third) == said


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("refused", "why"),
    [
        ({"PAPI_add_named_event": -7}, "PAPI_add_named_event powercap:::ENERGY_UJ:ZONE0: Invalid argument"),
        ({"powercap": -17}, "this PAPI has no component powercap: build PAPI with"),
    ],
)
def test_what_papi_refuses_is_told_in_one_line(
    refused: dict[str, int],
    why: str,
    asked: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(papi, "library", lambda: Papi(**refused))
    asked("start")
    assert papi.main("powercap") == 0
    (answer,) = answers(capsys)
    assert answer["ok"] is False
    assert why in answer["problem"]


@pytest.mark.usefixtures("home")
def test_a_component_of_papi_that_is_switched_off_says_nothing(
    asked: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(papi, "library", lambda: Papi(events=[]))  # type: ignore[arg-type]
    asked("start", "sample")
    assert papi.main("powercap") == 0
    assert [energies(one) for one in answers(capsys)] == [{}, {}]


def test_papi_is_asked_for_its_version_and_for_what_it_is_made_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(papi, "library", Papi)
    assert papi.main("--version") == 0
    assert capsys.readouterr().out == "7.3.0\n"
    monkeypatch.setattr(papi, "library", lambda: Papi(rapl=-17))
    assert papi.main("--version") == 1
    assert capsys.readouterr().err.startswith("PAPI 7.3.0 is built without rapl: build PAPI with --with-components")


def test_a_papi_that_is_none_or_does_not_want_to_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RAPLICA_PAPI", str(tmp_path / "libpapi.so"))
    with pytest.raises(papi.PapiError, match=r"libpapi\.so: is no libpapi: "):
        papi.library()
    made: list[Papi] = [Papi(), Papi(PAPI_library_init=-1)]
    monkeypatch.setattr("ctypes.CDLL", lambda _name: made[0])
    assert papi.library() is made[0]
    made.reverse()
    with pytest.raises(papi.PapiError, match=r"PAPI_library_init refuses version 7\.3\.0"):
        papi.library()
    monkeypatch.delenv("RAPLICA_PAPI")
    monkeypatch.setattr("ctypes.util.find_library", lambda _name: None)
    with pytest.raises(papi.PapiError, match="libpapi is not installed: build PAPI"):
        papi.library()


# perun.

PERUN = """#!/bin/sh
[ "$1 $2 $3" = "monitor --sampling-period 0.25" ] || exit 9
{body}
"""


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        ('"cpu_energy": {"sum": 1.5}, "dram_energy": {"sum": 0.25}', {"total": 1_750_000}),
        ('"cpu_util": {"sum": 3}', {"total": None}),
    ],
)
def test_perun_monitors_a_program_that_sleeps(
    metrics: str, said: dict[str, int], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body = f"mkdir results; echo '{{\"metrics\": {{{metrics}}}}}' > results/sleep.json"
    assert perun.main(str(program(home, "perun", PERUN.format(body=body))), "2") == 0
    assert json.loads(capsys.readouterr().out) == said


def test_a_perun_that_fails_fails_with_its_own_words(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert perun.main(str(program(home, "perun", PERUN.format(body="echo no luck >&2; exit 3"))), "2") == 3
    assert capfd.readouterr() == ("", "no luck\n")


# Meters on a terminal.

#: Rows come at once, so that no test waits; it ends when it is told with a q, as the real one does.
S_TUI = """#!/bin/sh
printf 'Time,"Power:package-0,0","Power:dram,0","Power:psys,0","Util:0"\\n' > rows.csv
number=0
stty -icanon -echo min 0 time 0
while [ "$(dd bs=1 count=1 2>/dev/null)" != q ]; do
    echo "$number,10.0,2.0,,50" >> rows.csv
    sleep 0.05
done
"""
POWERSTAT = """#!/bin/sh
trap 'exit 0' INT
echo '  Time    User  Nice   Sys  Idle    IO  Run Ctxt/s  IRQ/s Fork Exec Exit  Watts'
while :; do
    echo '10:11:12   1.0   0.0   1.0  98.0   0.0    1    100    100    0    0    0   7.50'
    sleep 0.05
done
"""


def test_the_watts_of_a_table_become_joules_by_the_time_between_two_rows(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program(home, "s-tui", S_TUI)
    assert terminal.main("s-tui", "0.2") == 0
    said = json.loads(capsys.readouterr().out)
    assert set(said) == {"package-0", "package-0/dram"}
    # The first of five rows and a bit has none before it; how long they took is not for a test to say.
    assert said["package-0"] == pytest.approx(5 * said["package-0/dram"], abs=5)
    assert said["package-0"] > 1_000_000


def test_the_first_line_of_powerstat_stands_for_the_time_before_it(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program(home, "powerstat", POWERSTAT)
    assert terminal.main("powerstat", "0.1") == 0
    said = json.loads(capsys.readouterr().out)
    assert list(said) == ["total"]
    assert said["total"] >= 0.5 * 7.5e6


def test_a_meter_that_crashes_in_the_middle_is_no_meter_that_knows_less(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What it had shown before is no answer; what it leaves on the terminal is what its user sees."""
    rows = 'Time,"Power:package-0,0"\\n1,10.0\\n2,10.0\\n'
    traceback = "Traceback (most recent call last):\\n  File x\\nIndexError: list index out of range\\n"
    program(home, "s-tui", f"#!/bin/sh\nprintf '{rows}' > rows.csv\nsleep 0.05\nprintf '{traceback}'\nexit 1\n")
    assert terminal.main("s-tui", "9") == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "Traceback (most recent call last):\nIndexError: list index out of range\n"


@pytest.mark.parametrize("name", ["s-tui", "powerstat"])
def test_a_meter_that_shows_nothing_gives_its_last_words(
    name: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program(home, name, "#!/bin/sh\necho; echo 'no RAPL here'; echo\n")
    assert terminal.main(name, "1") == 1
    assert capsys.readouterr().err == "no RAPL here\n"
    program(home, name, "#!/bin/sh\n")
    assert terminal.main(name, "1") == 1
    assert capsys.readouterr().err == "it showed nothing\n"


# Programs with a page.

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
