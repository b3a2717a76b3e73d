# SPDX-License-Identifier: Apache-2.0
"""Real programs, unmodified, on live machines: where they are, and how one is run and watched.

Debian's are found on PATH, those from PyPI in ``.tox/clients``, an environment of their own.  ``.ci/run`` installs
what it can and names in RAPLICA_CLIENTS what there then is: a client that is named there and not found is a failure.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from .observation import Observation, observe_command

ROOT = Path(__file__).resolve().parents[3]
ENVIRONMENT = ROOT / ".tox" / "clients"
REQUIREMENTS = "simulator/tests/clients/requirements.txt"
PACKAGES = {
    "go": "golang-go",
    "powercap-info": "powercap-utils",
    "powercap-set": "powercap-utils",
    "powerstat": "powerstat",
    "prometheus-node-exporter": "prometheus-node-exporter",
    "rapl-info": "powercap-utils",
    "rdmsr": "msr-tools",
    "s-tui": "s-tui",
    "wrmsr": "msr-tools",
}
SYSTEM_PATHS = "/usr/local/sbin:/usr/sbin:/sbin"  # where rdmsr is, also for who is not root


def missing(name: str, how: str) -> None:
    """A client is not here: skip, or fail where it was said to be there."""
    reason = f"{name} is not installed: {how}, or .ci/run"
    if name in os.environ.get("RAPLICA_CLIENTS", "").split():
        pytest.fail(f"RAPLICA_CLIENTS names it, and {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def program() -> Callable[[str], str]:
    """The path of one of Debian's programs: ``program("rdmsr")``."""

    def find(name: str) -> str:
        path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:{SYSTEM_PATHS}")
        if path is None:
            missing(name, f"apt-get install {PACKAGES[name]}")
        return str(path)

    return find


@pytest.fixture(scope="session")
def python_with() -> Callable[[str], str]:
    """The interpreter that has a package from PyPI: ``python_with("codecarbon")``."""

    def find(package: str) -> str:
        if not list(ENVIRONMENT.glob(f"lib/python*/site-packages/{package}/__init__.py")):
            where = ENVIRONMENT.relative_to(ROOT)
            missing(package, f"python3 -m venv {where} && {where}/bin/pip install -r {REQUIREMENTS}")
        return str(ENVIRONMENT / "bin" / "python")

    return find


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment that clients run in: English, and a home of its own, since several write there."""
    of_tests = ("COV_", "COVERAGE_", "PYTEST_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(of_tests)}
    return {**kept, "HOME": str(tmp_path_factory.mktemp("home")), "LC_ALL": "C.UTF-8", "NO_COLOR": "1"}


@pytest.fixture(scope="session")
def can_exec() -> None:
    """Skip where no command can be run on a machine, saying why; RAPLICA_FUSE=required makes that a failure."""
    program = "from raplica_simulator.surfaces.namespace import obstacle; print(obstacle() or '', end='')"
    reason = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    if reason and os.environ.get("RAPLICA_FUSE") == "required":
        pytest.fail(f"RAPLICA_FUSE=required, and nothing can be run on a machine here: {reason}")
    elif reason:
        pytest.skip(f"nothing can be run on a machine here: {reason}")


@pytest.fixture
def observe(can_exec: None, home: dict[str, str], tmp_path: Path) -> Callable[..., Observation]:  # noqa: ARG001
    """Run a command on a machine and see what it does: ``observe("cat", FILE, machine="kabylake", load="package=9")``.

    Without ``machine`` it is the one of the scenario, without that one the scenario `base`.
    """
    return partial(_observe, home, tmp_path, count(), [])


@pytest.fixture
def observe_rootless(
    can_exec: None,  # noqa: ARG001
    home: dict[str, str],
    tmp_path: Path,
) -> Iterator[Callable[..., Observation]]:
    """The same by a user without rights, in a folder that everybody may use; programs below /tmp are copied there."""
    if os.geteuid():
        yield partial(_observe, home, tmp_path, count(), [])
        return
    room = [sys.executable, str(ROOT / "simulator" / "tests" / "room.py"), "nobody,open-device"]
    with tempfile.TemporaryDirectory() as name:
        folder, numbers = Path(name), count()
        folder.chmod(0o777)

        def run(command: str | Path, *arguments: str | Path, **options: Any) -> Observation:
            if isinstance(command, Path):
                command = Path(shutil.copy(command, folder))
            before = [*room, tempfile.mkdtemp(dir=tmp_path)]
            return _observe({**home, "HOME": name}, folder, numbers, before, command, *arguments, **options)

        yield run


def _observe(
    environment: dict[str, str],
    folder: Path,
    number: Iterator[int],
    before: list[str],
    *command: str | Path,
    machine: str = "-",
    scenario: str | None = None,
    **options: object,
) -> Observation:
    return observe_command(
        [*map(str, command)],
        folder / f"calls-{next(number)}",
        environment=environment,
        folder=folder,
        before=before,
        machine=machine,
        scenario="base" if (machine, scenario) == ("-", None) else scenario,
        **options,
    )


@pytest.fixture(scope="session")
def c_meter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """meter.c, compiled and linked statically."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        missing("cc", "apt-get install gcc libc6-dev")
    made = tmp_path_factory.mktemp("c") / "meter"
    flags = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-static"]
    subprocess.run([str(compiler), *flags, "-o", made, Path(__file__).with_name("meter.c")], check=True)
    return made


@pytest.fixture(scope="session")
def go_meter(program: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """meter.go, built without C: a program that no preloaded library reaches."""
    compiler = program("go")
    folder = tmp_path_factory.mktemp("go")
    # Where there is no home there is no cache either.
    cache = {} if "HOME" in os.environ else {"GOCACHE": str(folder / "cache")}
    environment = {**os.environ, **cache, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": ""}
    source = Path(__file__).with_name("meter.go")
    subprocess.run([compiler, "build", "-o", folder / "meter", source], check=True, cwd=folder, env=environment)
    return folder / "meter"
