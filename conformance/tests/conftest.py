# SPDX-License-Identifier: Apache-2.0
"""What the tests of this component share: a registry of harness clauses, a bare subject, a small written tree."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from raplica_conformance.clause import Clause, clause, expect, not_applicable, skip
from raplica_conformance.subject import CLASS, DEVICES, CannotTell, Crashed, readable
from raplica_conformance.subjects.simulator import SimulatedMachine, SimulatedTree


@dataclass
class Bare:
    """A subject that can do nothing, which is enough for clauses that look at nothing."""

    name: str = "bare"
    kernel: str | None = None
    can: frozenset[str] = frozenset()
    kind: str = "provider"
    arguments: tuple[str, ...] = field(default=("--tree", "/some where"))


@pytest.fixture
def bare() -> type[Bare]:
    return Bare


def _pass(_subject: object) -> None:
    expect(1, 1, "one is one")


def _fail(_subject: object) -> None:
    expect(1, 2, "one is\ntwo")


def _skip(_subject: object) -> None:
    skip("not today")


def _not_applicable(_subject: object) -> None:
    not_applicable("not here")


def _crash(_subject: object) -> None:
    raise ZeroDivisionError("division\nby zero")


def _exit(_subject: object) -> None:
    raise SystemExit(0)


def _hang(_subject: object) -> None:
    while True:
        try:
            time.sleep(3600)
        except Exception:  # noqa: BLE001, S112 - a clause that swallows everything must end as well
            continue


def _spin(_subject: object) -> None:
    while True:
        pass


def _empty(_subject: object) -> None:
    pass


def _cannot_tell(_subject: object) -> None:
    raise CannotTell(0, "an empty file")


def _oops(_subject: object) -> None:
    raise Crashed("divide error")


def _reader(_subject: object) -> None:
    expect("reader", "reader", "it is one")


HARNESS: tuple[tuple[str, Callable[[object], None], dict[str, Any]], ...] = (
    ("pass", _pass, {}),
    ("fail", _fail, {"threads": ("https://example.org/thread/1",)}),
    ("skip", _skip, {"level": "should"}),
    ("not-applicable", _not_applicable, {"level": "may"}),
    ("crash", _crash, {}),
    ("exit", _exit, {}),
    ("hang", _hang, {}),
    ("spin", _spin, {}),
    ("empty", _empty, {}),
    ("cannot-tell", _cannot_tell, {}),
    ("oops", _oops, {}),
    ("needs", _pass, {"needs": ("msr", "writable")}),
    ("reader", _reader, {"kind": "reader"}),
)


#: Harness clauses that never end; their limit is short, that of all others is one which no busy machine reaches.
HANGING = frozenset({"selftest.hang", "selftest.spin"})


def _limit_s(clause_id: str) -> float:
    return 0.05 if clause_id in HANGING else 60.0


@pytest.fixture
def limit_of() -> Callable[[str], float]:
    """The seconds that fit a harness clause, by its id."""
    return _limit_s


def _harness_clauses() -> dict[str, Clause]:
    registry: dict[str, Clause] = {}
    for name, function, options in HARNESS:
        title = f"The harness clause {name}."
        metadata = {"level": "must", "title": title, "group": "selftest", "source": "nowhere", **options}
        clause(f"selftest.{name}", registry=registry, **metadata)(function)
    return registry


@pytest.fixture
def harness() -> dict[str, Clause]:
    """Clauses that pass, fail, skip, crash and hang: what the harness itself is tested with."""
    return _harness_clauses()


ZONES = {
    "intel-rapl:0": {"name": "package-0\n", "max_energy_range_uj": "262143328850\n", "energy_uj": "1000\n"},
    "intel-rapl:0:0": {"name": "core\n", "max_energy_range_uj": "262143328850\n", "energy_uj": ""},
}


def _write_tree(root: Path) -> Path:
    top = root / "devices/virtual/powercap/intel-rapl"
    listed = root / "class/powercap"
    listed.mkdir(parents=True)
    for directory in (top, top / "power"):
        directory.mkdir(parents=True)
    (top / "enabled").write_text("1\n")
    (top / "uevent").write_text("")
    (listed / "intel-rapl").symlink_to("../../devices/virtual/powercap/intel-rapl")
    for name, files in ZONES.items():
        below = "intel-rapl:0/" if name.count(":") > 1 else ""
        zone = top / f"{below}{name}"
        (zone / "power").mkdir(parents=True)
        for file, text in files.items():
            (zone / file).write_text(text)
            (zone / file).chmod(0o400 if file == "energy_uj" else 0o444)
        (zone / "constraint_0_name").write_text("long_term\n")
        (zone / "constraint_1_power_limit_uw").write_text("1\n")
        (listed / name).symlink_to(f"../../devices/virtual/powercap/intel-rapl/{below}{name}")
    return root


@pytest.fixture
def written_tree(tmp_path: Path) -> Path:
    """A /sys root with one package and its core, whose energy could not be read."""
    return _write_tree(tmp_path / "sys")


def _copy(tree: SimulatedTree, root: Path, directory: str) -> None:
    (root / directory).mkdir(parents=True)
    for name in tree.listdir(directory):
        path = f"{directory}/{name}"
        entry = tree.stat(path)
        if entry.kind == "dir":
            _copy(tree, root, path)
        elif entry.kind == "link":
            (root / path).symlink_to(tree.readlink(path))
        else:
            (root / path).write_bytes(readable(tree, path) or b"")
            (root / path).chmod(entry.mode)


@pytest.fixture
def right_tree(tmp_path: Path) -> Path:
    """Kaby Lake on Linux 6.12 as a directory, with nothing wrong."""
    tree = SimulatedMachine("kabylake", "6.12").fresh()
    for top in (CLASS, DEVICES):
        _copy(tree, tmp_path / "right", top)
    return tmp_path / "right"
