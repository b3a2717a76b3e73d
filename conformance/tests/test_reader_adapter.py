# SPDX-License-Identifier: Apache-2.0
"""How readers are described: on the command line, in files, by name; and what is wrong with a description."""

import sys
from pathlib import Path

import pytest

from raplica_conformance.readers.adapter import AdapterError, adapter_ids, find_adapter
from raplica_conformance.readers.command import Command
from raplica_conformance.readers.oneshot import OneshotPlug
from raplica_conformance.readers.timed import TimedPlug

WHOLE = """
title      = "A reader with everything that can be said"
kind       = "oneshot"
command    = ["sh", "-c", "awk '{print $1}' {sysfs}/x", "{state}"]
extract    = ["json:a", 'regex:(?P<zone>\\w+)=(?P<energy>\\d+)']
unit       = "mJ"
counter    = true
interfaces = ["powercap", "msr"]
limit_s    = 2.5
file       = "{state}/out"
[zones]
cpu = "package-0"
"""


def test_the_built_in_readers_are_plugs_of_their_names() -> None:
    assert {f"raplica-reader{which}" for which in ("", "-msr", "-perf", "-stepped")} <= set(adapter_ids())
    for name in adapter_ids():
        plug = find_adapter(name).plug()
        assert plug.name == name
        assert plug.interfaces
        plug.close()


def test_a_file_says_everything(tmp_path: Path) -> None:
    path = tmp_path / "whole.toml"
    path.write_text(WHOLE)
    plug = find_adapter(str(path)).plug()
    assert isinstance(plug, OneshotPlug)
    assert (plug.name, plug.counter, plug.limit_s, plug.file) == ("whole", True, 2.5, "{state}/out")
    assert plug.interfaces == {"powercap", "msr"}
    assert plug.command.fields == {"sysfs", "state"}
    assert plug.extractor.unit == "mJ"
    assert plug.extractor.answer('{"a": {"cpu": 1}}')["package-0"].energy_uj == 1000


def test_a_command_is_started_for_each_sample_unless_it_takes_seconds() -> None:
    assert isinstance(find_adapter("cat {sysfs}/x").plug(), OneshotPlug)
    assert isinstance(find_adapter("sleep {seconds}").plug(), TimedPlug)
    assert find_adapter("cat -").plug().kind == "oneshot"
    assert find_adapter("cat -", kind="stepped").plug().kind == "stepped"


def test_what_is_said_beside_it_counts_more_than_a_file(tmp_path: Path) -> None:
    path = tmp_path / "whole.toml"
    path.write_text(WHOLE)
    adapter = find_adapter(str(path), extract="csv:x", unit="J")
    assert (adapter.extract, adapter.unit, adapter.kind) == (("csv:x",), "J", "oneshot")


def test_a_function_says_by_itself_which_doors_it_reads_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "some_reader.py").write_text("def make(tree, clock): ...\nmake.interfaces = ('msr',)\n")
    monkeypatch.syspath_prepend(tmp_path)
    plug = find_adapter("some_reader:make").plug()
    assert plug.kind == "callable"
    assert plug.interfaces == {"msr"}
    monkeypatch.delitem(sys.modules, "some_reader")


def test_a_command_keeps_the_braces_that_are_its_own() -> None:
    command = Command.parse("awk '{print} {x}' {python}")
    stage = None
    assert command.filled(stage) == ["awk", "{print} {x}", sys.executable]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("kind = 'oneshot'", "is started by a command"),
        ("command = 'true'", "kind is missing"),
        ("kind = 'onshot'\ncommand = 'true'", "did you mean oneshot"),
        ("kind = 'oneshot'\ncomand = 'true'", "did you mean command"),
        ("kind = 'oneshot'\ncommand = 5", "command: must be text or an array of words"),
        ("kind = 'oneshot'\ncommand = ''", "the command is empty"),
        ("kind = 'oneshot'\ncommand = 'a \"b'", "is no command"),
        ("kind = 'oneshot'\ncommand = 'true {sysf}'", "did you mean {sysfs}"),
        ("kind = 'oneshot'\ncommand = '/no/such/program'", "there is no such program"),
        ("kind = 'oneshot'\ncommand = 'true'\nunit = 'ml'", "'ml' is none of"),
        ("kind = 'oneshot'\ncommand = 'true'\nextract = 'regex:x'", "has no group"),
        ("kind = 'oneshot'\ncommand = 'true'\nextract = [5]", "text or an array of texts"),
        ("kind = 'oneshot'\ncommand = 'true'\ncounter = 1", "true or false"),
        ("kind = 'oneshot'\ncommand = 'true'\ninterfaces = ['usb']", "'usb' is none of"),
        ("kind = 'oneshot'\ncommand = 'true'\ninterfaces = []", "one door at least"),
        ("kind = 'oneshot'\ncommand = 'true'\nlimit_s = 0", "above 0"),
        ("kind = 'oneshot'\ncommand = 'true'\nlimit_s = true", "above 0"),
        ("kind = 'oneshot'\ncommand = 'true'\nzones = { a = 5 }", "zones.a"),
        ("kind = 'oneshot'\ncommand = 'true'\nfunction = 'a:b'", "is started by a command"),
        ("kind = 'timed'\ncommand = 'true'\ncounter = true", "counter is for oneshot"),
        ("kind = 'stepped'\ncommand = 'true'\nunit = 'J'", "in its protocol"),
        ("kind = 'callable'\ncommand = 'true'", "name it like module:function"),
        ("kind = 'callable'\nfunction = 'no_such_module:f'", "cannot be imported"),
        ("kind = [", "is not TOML"),
    ],
)
def test_a_wrong_description_is_refused_in_one_line(text: str, why: str, tmp_path: Path) -> None:
    path = tmp_path / "reader.toml"
    path.write_text(text)
    with pytest.raises(AdapterError) as raised:
        find_adapter(str(path)).plug()
    assert why in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("reader", "keys", "why"),
    [
        ("missing.toml", {}, "cannot be read"),
        ("no-such-reader", {}, "there is no such program"),
        ("no_such_module:f", {}, "cannot be imported"),
        ("true", {"kind": "often"}, "callable, stepped, oneshot, timed"),
        ("true", {"unit": "ml"}, "there is no unit"),
        ("true", {"extract": "xml"}, "is no extractor"),
        ("", {}, "the command is empty"),
    ],
)
def test_a_wrong_option_is_refused_in_one_line(reader: str, keys: dict[str, str], why: str) -> None:
    with pytest.raises(AdapterError) as raised:
        find_adapter(reader, **keys).plug()
    assert why in str(raised.value)
    assert "\n" not in str(raised.value)
