# SPDX-License-Identifier: Apache-2.0
"""The pytest plugin as its users meet it: test files of theirs, run by a pytest of their own."""

import importlib
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pyfakefs.pytest_plugin  # noqa: F401 - loaded here, so that no inner pytest loads it anew
import pytest

import raplica_simulator.surfaces.fakefs
import raplica_simulator.testing
from raplica_simulator.testing import CannotMount

pytest_plugins = ["pytester"]

PLUGINS = ("-p", "raplica_simulator.pytest_plugin", "-p", "pyfakefs.pytest_plugin")
START = """
import os, subprocess
from pathlib import Path
import pytest
ENERGY = "class/powercap/intel-rapl:0/energy_uj"
"""
Run = Callable[..., pytest.RunResult]


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run tests with our plugin and that of pyfakefs, and no other, in this process."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)

    def call(text: str, *arguments: str, plugins: tuple[str, ...] = PLUGINS) -> pytest.RunResult:
        pytester.makepyfile(START + textwrap.dedent(text))
        strict = ("--strict-markers", "-Werror", "-p", "no:cacheprovider")
        # This very process may have loaded the plugin already, by another loader where coverage looks on.
        known = "ignore:Module already imported:pytest.PytestAssertRewriteWarning"
        return pytester.runpytest_inprocess(*plugins, *strict, "-W", known, *arguments)

    return call


@pytest.mark.usefixtures("mounts")
def test_all_fixtures_of_one_test_show_one_machine_and_one_clock(run: Run) -> None:
    result = run(
        """
        def test_a_reader(rapl_machine, rapl_clock, powercap_tree, rapl_live):
            assert rapl_machine.clock is rapl_clock
            before = int(rapl_machine.sysfs.read(ENERGY))
            assert before == int((powercap_tree / ENERGY).read_text())
            rapl_clock.advance(seconds=10)
            told = subprocess.run(["cat", rapl_live.sysfs / ENERGY], capture_output=True, check=True)
            assert int(told.stdout) == int(rapl_machine.sysfs.read(ENERGY)) > before
            assert int((powercap_tree / ENERGY).read_text()) == before

        def test_another_begins_anew(rapl_machine, rapl_clock, rapl_live):
            assert rapl_clock.now_ns == 0
            assert rapl_live.machine is rapl_machine
        """
    )
    result.assert_outcomes(passed=2)


def test_a_marker_with_several_machines_runs_the_test_on_each_and_its_name_says_on_which(run: Run) -> None:
    result = run(
        """
        def test_default(rapl_machine):
            assert rapl_machine.profile.id == "skylake-sp-2s"

        @pytest.mark.rapl("kabylake", "zen4", kernel="7.2", load={"package": 10})
        def test_each(rapl_machine):
            rapl_machine.step(1)
            assert rapl_machine.kernel.version == "7.2"
            assert rapl_machine.truth_uj("package-0") == 10_000_000

        @pytest.mark.rapl(scenario="order-swapped")
        class TestOfAScenario:
            def test_its_machine(self, rapl_machine):
                assert rapl_machine.sysfs.read("class/powercap/intel-rapl:0/name") == b"package-1\\n"

            @pytest.mark.rapl("zen4")
            def test_the_nearest_marker_counts(self, rapl_machine):
                assert rapl_machine.profile.id == "zen4"

        @pytest.mark.parametrize("rapl_machine", ["alderlake-p", "sandybridge"], indirect=True)
        @pytest.mark.rapl(at_s=1)
        def test_parametrised(rapl_machine, powercap_tree):
            assert rapl_machine.clock.now_ns == 10**9

        @pytest.mark.rapl("kabylake", "zen4")
        def test_without_the_machine_it_is_one_test():
            pass
        """,
        "-v",
    )
    result.assert_outcomes(passed=8)
    names = ["test_each[[]kabylake]", "test_each[[]zen4]", "test_parametrised[[]alderlake-p]"]
    result.stdout.fnmatch_lines([f"*::{name} PASSED*" for name in names])


def test_a_profile_of_ones_own_is_named_by_its_file(run: Run, pytester: pytest.Pytester) -> None:
    from raplica_fixtures import profile_path

    folder = pytester.mkdir("machines")
    (folder / "my-laptop.toml").write_text(profile_path("kabylake").read_text(encoding="utf-8"), encoding="utf-8")
    result = run(
        """
        from raplica_simulator import load_profile

        @pytest.mark.rapl("machines/my-laptop.toml", Path("machines/my-laptop.toml"), load_profile("zen4"))
        def test_each(rapl_machine):
            assert rapl_machine.sysfs.read("class/powercap/intel-rapl:0/name") == b"package-0\\n"
        """,
        "-v",
    )
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["*test_each[[]my-laptop.toml*]*", "*test_each[[]zen4]*"])


@pytest.mark.parametrize(
    ("marker", "line"),
    [
        ('"kabylak"', "kabylak: unknown machine; did you mean kabylake? (or give the path of a .toml or .json file)"),
        ('kernal="6.1"', "kernal is not known; did you mean kernel? (known are kernel, load, scenario, at_s, near_*"),
        ('kernel="9"', "kernel '9' is not simulated; the nearest that is: 7.2*"),
        ("7", "*"),
        ('load="none.csv"', "*No such file*none.csv*"),
    ],
)
def test_a_wrong_marker_is_one_line(run: Run, marker: str, line: str) -> None:
    result = run(f"@pytest.mark.rapl({marker})\ndef test_it(rapl_machine): pass\n", "--tb=short")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*ERROR at setup of test_it*", f"rapl: {line}", "*short test summary*"], consecutive=True
    )


def test_a_test_that_asks_too_late_for_several_machines_is_told_so(run: Run) -> None:
    result = run(
        '@pytest.mark.rapl("zen4", "kabylake")\ndef test_it(request): request.getfixturevalue("rapl_machine")\n'
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["rapl: the marker has several machines: name rapl_machine, *"])


def test_the_marker_and_the_fixtures_are_documented(run: Run) -> None:
    run("", "--markers").stdout.fnmatch_lines(["@pytest.mark.rapl([*]machines, kernel=None,*"])
    listed = run("", "--fixtures").stdout
    for name in ("rapl_machine", "rapl_clock", "powercap_tree", "powercap_fakefs", "rapl_live"):
        listed.re_match_lines([rf"{name} -- .*pytest_plugin.py", "    [A-Z].*"], consecutive=True)


def test_the_fake_file_system_is_the_one_of_pyfakefs_and_other_tests_with_it_see_no_machine(run: Run) -> None:
    result = run(
        """
        def test_first_ours(powercap_fakefs, fs, rapl_machine):
            assert fs is powercap_fakefs
            fs.create_file("/etc/reader.conf", contents="interval=1")
            before = int(Path("/sys", ENERGY).read_text())
            rapl_machine.step(1)
            assert int(open(f"/sys/{ENERGY}").read()) > before

        def test_first_theirs(fs, rapl_machine, powercap_fakefs, powercap_tree):
            assert int((powercap_tree / ENERGY).read_text()) == int(Path("/sys", ENERGY).read_text())

        def test_theirs_alone(fs):
            assert not os.path.exists("/sys/class/powercap")
            assert not os.path.exists(__file__)

        def test_neither():
            assert os.path.exists(__file__)
        """
    )
    result.assert_outcomes(passed=4)


def test_where_the_plugin_of_pyfakefs_is_off_the_fixture_patches_it_in_itself(run: Run) -> None:
    result = run(
        """
        def test_it(powercap_fakefs):
            assert Path("/sys", ENERGY).read_text()
            assert not os.path.exists(__file__)
        """,
        plugins=PLUGINS[:2],
    )
    result.assert_outcomes(passed=1)


def test_without_pyfakefs_one_line_says_what_to_install(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("pyfakefs", "raplica_simulator.surfaces.fakefs"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(raplica_simulator.surfaces, "fakefs")
    monkeypatch.setitem(sys.modules, "pyfakefs", None)
    result = run("def test_it(powercap_fakefs): pass\ndef test_other(rapl_machine): pass\n", plugins=PLUGINS[:2])
    result.assert_outcomes(errors=1, passed=1)
    result.stdout.fnmatch_lines(["rapl: pyfakefs is not installed: pip install 'raplica[[]pytest]'"])


@pytest.mark.usefixtures("mounts")
def test_a_mount_goes_with_its_test_also_when_that_fails_and_in_a_fake_file_system(run: Run) -> None:
    result = run(
        """
        from pyfakefs.fake_filesystem_unittest import Pause

        def test_that_fails(rapl_live):
            Path("../seen").write_text(str(rapl_live.directory))
            assert not rapl_live.sysfs.exists()

        def test_fake(fs, rapl_live, rapl_machine, powercap_fakefs):
            rapl_machine.step(1)
            assert not os.path.exists(rapl_live.directory)
            with Pause(fs):
                told = subprocess.run(["cat", rapl_live.sysfs / ENERGY], capture_output=True, check=True).stdout
            assert told == Path("/sys", ENERGY).read_bytes()
        """,
    )
    result.assert_outcomes(passed=1, failed=1)
    place = Path("../seen").read_text(encoding="utf-8")
    assert place not in Path("/proc/self/mountinfo").read_text(encoding="utf-8")


@pytest.mark.parametrize(("required", "outcome"), [("", "skipped"), ("required", "errors")])
def test_where_nothing_can_be_mounted_it_skips_and_says_why_unless_that_is_required(
    run: Run, monkeypatch: pytest.MonkeyPatch, required: str, outcome: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise CannotMount("there is no /dev/fuse: as root `modprobe fuse`")

    monkeypatch.setattr("raplica_simulator.testing.FuseMount", refuse)
    monkeypatch.setenv("RAPLICA_FUSE", required)
    result = run("def test_it(rapl_live): pass\n", "-rsE")
    result.assert_outcomes(**{outcome: 1})
    result.stdout.fnmatch_lines(["*nothing can be mounted here: there is no /dev/fuse: as root `modprobe fuse`"])


@pytest.mark.usefixtures("mounts")
def test_every_test_in_the_manual_passes(run: Run) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "pytest.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)
    run("\n".join(blocks)).assert_outcomes(passed=sum(block.count("def test_") for block in blocks) + 2)


@pytest.mark.slow
@pytest.mark.usefixtures("mounts")
def test_workers_of_xdist_have_machines_of_their_own(run: Run) -> None:
    result = run(
        """
        @pytest.mark.rapl("kabylake", "zen4")
        @pytest.mark.parametrize("seconds", [1, 2])
        def test_each(rapl_machine, rapl_live, powercap_tree, seconds):
            rapl_machine.step(seconds)
            assert (rapl_live.sysfs / ENERGY).read_bytes() == rapl_machine.sysfs.read(ENERGY)
        """,
        "-n2",
        plugins=(*PLUGINS[:2], "-p", "xdist"),
    )
    result.assert_outcomes(passed=4)


def test_a_pytest_that_uses_none_of_it_loads_nothing_of_the_simulator() -> None:
    program = (
        "import sys, pytest; before = set(sys.modules); import raplica_simulator.pytest_plugin; "
        "print(*sorted(name for name in set(sys.modules) - before if 'raplica' in name or name in sys.argv))"
    )
    heavy = ("pyfakefs", "msgspec", "rich", "jinja2", "click", "raplica_fixtures")
    done = subprocess.run([sys.executable, "-c", program, *heavy], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [
        "raplica_simulator",
        "raplica_simulator.pytest_plugin",
        "raplica_simulator.real_disk",
    ]


def test_the_plugin_gives_pytest_its_fixtures_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    # Imported anew: it is loaded before anything measures what it does.
    for name in ("raplica_simulator.pytest_plugin", "raplica_simulator.real_disk"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    plugin = importlib.import_module("raplica_simulator.pytest_plugin")
    assert plugin.__all__ == sorted(plugin.__all__)
    hooks = {name for name in vars(plugin) if name.startswith("pytest_")}
    assert hooks == {"pytest_configure", "pytest_generate_tests", "pytest_runtest_setup"}
