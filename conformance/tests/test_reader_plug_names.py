# SPDX-License-Identifier: Apache-2.0
"""A reader that is named as a function and cannot be had: what is said then."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from raplica_conformance.cli_readers import smoke
from raplica_conformance.readers.called import find_function
from raplica_conformance.readers.plug import TOTAL, ReaderFault


@pytest.mark.parametrize("name", ["no_such_module:f", "json:no_such_function", "json:__name__", ":f"])
def test_a_function_that_is_not_there_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(ValueError, match=r"cannot be imported|is not a function"):
        find_function(name)


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("def f(:", "SyntaxError: .*, line 1"),
        ("raise SystemError('first line\\nsecond line')", "SystemError: first line second line"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("raise ImportError('there is no such library')", "there is no such library"),
        ("", "has no attribute 'f'"),
    ],
)
def test_a_module_that_breaks_down_when_it_is_imported_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, why: str
) -> None:
    name = f"broken_reader_{abs(hash(source))}"
    (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=f"{name}:f: cannot be imported: .*{why}") as raised:
        find_function(f"{name}:f")
    assert "\n" not in str(raised.value)
    ran = CliRunner().invoke(smoke, ["--reader", f"{name}:f"])
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert len([line for line in ran.stderr.splitlines() if name in line]) == 1


def test_a_reader_that_ends_the_process_is_a_plug_that_does_not_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "leaving_reader.py").write_text("import sys\ndef f(tree, clock): sys.exit(7)\n")
    monkeypatch.syspath_prepend(tmp_path)
    ran = CliRunner().invoke(smoke, ["--reader", "leaving_reader:f"])
    assert ran.exit_code == 1
    assert "wrong: it cannot be made: it raised SystemExit: 7" in ran.stdout


def test_a_fault_of_a_reader_is_an_exception_of_its_own() -> None:
    assert not issubclass(ReaderFault, OSError)
    assert TOTAL == "total"
