# SPDX-License-Identifier: Apache-2.0
"""The command `raplica` as a whole: help, decode, errors, and what becomes of its output."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from raplica_fixtures import profile_ids
from raplica_simulator import Machine
from raplica_simulator.cli import cli, main
from raplica_simulator.decode import decode

Result = tuple[int, str, str]


def raplica(*arguments: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    done: subprocess.CompletedProcess[str] = subprocess.run(
        [sys.executable, "-m", "raplica_simulator", *map(str, arguments)],
        text=True,
        check=False,
        **{"capture_output": True, "stdin": subprocess.DEVNULL, **options},  # type: ignore[call-overload]
    )
    return done


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Run the command in this process, where that makes no difference: status, stdout, stderr."""

    def call(*arguments: str | Path) -> Result:
        with pytest.raises(SystemExit) as ended:
            main([*map(str, arguments)])
        told = capfd.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, told.out, told.err

    return call


def one_line(result: Result, status: int) -> str:
    """What an error says: one line on stderr, nothing on stdout."""
    assert result[:2] == (status, ""), result
    assert result[2].count("\n") == 1, result[2]
    assert result[2].endswith("\n")
    assert result[2].isprintable() is False  # the one line end
    return result[2]


def test_the_module_is_the_command() -> None:
    done = raplica("machines", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert [machine["id"] for machine in json.loads(done.stdout)] == list(profile_ids())


@pytest.mark.parametrize("name", [None, *sorted(set(cli.commands) - {"conformance"})])
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_every_command_has_help_with_an_example(run: Callable[..., Result], name: str | None, option: str) -> None:
    arguments = [option] if name is None else [name, option]
    status, out, err = run(*arguments)
    assert (status, err) == (0, "")
    assert re.search(r"Examples?: raplica ", out)


@pytest.mark.parametrize("name", ["show", "generate"])
def test_help_names_the_machines(run: Callable[..., Result], name: str) -> None:
    words = run(name, "--help")[1].split()
    assert [machine for machine in profile_ids() if machine not in words] == []


def test_without_a_command_there_is_help_and_status_2(run: Callable[..., Result]) -> None:
    status, out, err = run()
    assert status == 2
    assert "Usage: raplica" in out + err


def test_help_makes_no_machine_and_loads_nothing_heavy() -> None:
    program = (
        "import sys\n"
        "sys.argv = ['raplica', '--help']\n"
        "from raplica_simulator.cli import main\n"
        "try:\n"
        "    main()\n"
        "except SystemExit as end:\n"
        "    assert end.code == 0\n"
        "heavy = {'rich', 'msgspec', 'jinja2', 'pytest', 'tarfile', 'json', 'importlib.metadata',"
        " 'raplica_simulator.machine'}\n"
        "print('LOADED', *sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "LOADED"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nonsense"], ["nonsense"]),
        (["--nonsense"], ["--nonsense"]),
        (["show"], ["MACHINE"]),
        (["show", "skylake"], ["skylake", "did you mean skylake-sp-2s?"]),
        (["show", "xyzzy"], ["xyzzy", "built-in"]),
        (["show", "a\nb"], ["a\\nb"]),
        (["show", "/no/such.toml"], ["/no/such.toml", "No such file"]),
        (["show", "/no/such.json"], ["/no/such.json", "No such file"]),
        (["show", "/"], ["/", ".toml"]),
        (["show", "skylake-sp-2s", "--kernel", "6.9"], ["6.9", "6.12"]),
        (["show", "skylake-sp-2s", "--kernel", ""], ["kernel"]),
        (["show", "skylake-sp-2s", "kabylake"], ["kabylake"]),
        (["machines", "skylake-sp-2s"], ["skylake-sp-2s"]),
        (["decode", "0x610"], ["VALUE"]),
        (["decode", "0x610", "12x"], ["12x", "0xA0E03"]),
        (["decode", "0x610", "0x10000000000000000"], ["0xFFFFFFFFFFFFFFFF"]),
        (["decode", "0x61F", "0"], ["0x61F", "nearest"]),
        (["decode", "MSR_PKG_POWER_LIMITS", "0"], ["MSR_PKG_POWER_LIMIT"]),
        (["decode", "0x610", "0", "--unit", "x"], ["unit"]),
        (["decode", "0x610", "0", "--cpu", "6"], ["FAMILY:MODEL"]),
        (["decode", "0x610", "0", "--cpu", "25:1"], ["AuthenticAMD"]),
        (["decode", "0x610", "-1"], ["-1"]),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(
    run: Callable[..., Result], arguments: list[str], words: list[str]
) -> None:
    said = one_line(run(*arguments), 2)
    assert said.startswith("raplica")
    assert [word for word in words if word not in said] == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "[cpu] is missing"),
        ("cpu = [", "is not TOML"),
        ('[cpu]\nvendor = "GenuineIntel"\nfamily = 6\nmodle = 85\n[topology]\npackages = 1', "did you mean model"),
        ('[cpu]\nvendor = "Nobody"\nfamily = 6\nmodel = 85\n[topology]\npackages = 1', "Nobody"),
    ],
)
def test_a_wrong_profile_is_one_line_that_names_the_file(
    run: Callable[..., Result], tmp_path: Path, text: str, words: str
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    for command in (["show", path], ["generate", path, tmp_path / "out"]):
        said = one_line(run(*command), 2)
        assert str(path) in said
        assert words in said
    assert not (tmp_path / "out").exists()


def test_a_profile_whose_control_type_is_the_drivers_is_a_wrong_profile(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        '[cpu]\nvendor = "GenuineIntel"\nfamily = 6\nmodel = 85\n[topology]\npackages = 1\n'
        '[registers]\n0x606 = 0xA0E03\n0x611 = 1\n[[control_type]]\nname = "intel-rapl"\n'
    )
    assert "intel-rapl" in one_line(run("show", path), 2)


def test_an_argument_of_undecodable_bytes_is_one_line() -> None:
    done = raplica("show", os.fsdecode(b"\xff\xfe"))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "Traceback" not in done.stderr


def test_decode_prints_what_the_function_returns(run: Callable[..., Result]) -> None:
    arguments = ("0x610", "0x00428440001B83E8", "--unit", "0xA0E03", "--json")
    document = json.loads(run("decode", *arguments)[1])
    assert document == decode("0x610", "0x00428440001B83E8", unit="0xA0E03")
    assert document["fields"]["pl1_power_limit"] == {"raw": 1000, "value": 125.0, "unit": "W", "sysfs": 125000000}
    text = run("decode", "MSR_DRAM_ENERGY_STATUS", "0x20000777", "--cpu", "0x6:0x55")[1]
    assert "MSR_DRAM_ENERGY_STATUS (0x619)" in text


def test_raplica_conformance_is_the_command_conformance() -> None:
    own = subprocess.run(
        [sys.executable, "-m", "raplica_conformance", "list", "--json"], capture_output=True, text=True, check=True
    )
    passed = raplica("conformance", "list", "--json")
    assert (passed.returncode, passed.stdout) == (0, own.stdout)
    assert raplica("conformance", "--help").stdout.startswith("Usage: conformance")
    wrong = raplica("conformance", "explain", "no.such.clause")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("conformance explain: ")


def test_raplica_conformance_says_when_the_suite_is_not_there(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **_: [])
    assert "not installed" in one_line(run("conformance", "list"), 1)


def test_output_that_nobody_reads_is_no_error_to_speak_of() -> None:
    read, write = os.pipe()
    os.close(read)
    done = raplica("show", "skylake-sp-2s", capture_output=False, stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


def test_output_that_does_not_fit_is_one_line_and_status_1() -> None:
    with Path("/dev/full").open("w") as full:
        done = raplica("machines", capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (1, "raplica: No space left on device\n")


def test_a_closed_output_is_no_traceback() -> None:
    program = f"exec {sys.executable} -m raplica_simulator machines >&-"
    done = subprocess.run(["sh", "-c", program], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr


def test_a_name_that_the_terminal_cannot_show_is_shown_somehow(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'title = "größer als 5 €"\n[cpu]\nvendor = "GenuineIntel"\nfamily = 6\nmodel = 85\n[topology]\npackages = 1\n'
    )
    done = raplica("show", path, env={**os.environ, "PYTHONIOENCODING": "latin-1"}, encoding="latin-1")
    assert (done.returncode, done.stderr) == (0, "")
    assert "größer als 5 \\u20ac" in done.stdout


def test_ctrl_c_is_one_line_and_status_130(run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_arguments: object, **_named: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Machine, "from_profile", interrupt)
    assert one_line(run("show", "skylake-sp-2s"), 130) == "raplica: interrupted\n"
