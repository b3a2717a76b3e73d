# SPDX-License-Identifier: Apache-2.0
"""Trees with one planted fault each: the clauses that planted.toml names fail, and no other clause does.

The good trees are written by hand, so that they owe nothing to the simulator.
"""

import functools
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from raplica_conformance.clause import load_clauses
from raplica_conformance.judge import judge
from raplica_conformance.subjects.tree import WrittenTree

# A whole suite or tree each time: the quick set of the other Pythons leaves them out.
pytestmark = pytest.mark.slow

#: Path below /sys: (kind, mode, text or target).
Tree = dict[str, tuple[str, int, str]]

CLASS = "class/powercap"
TOP = "devices/virtual/powercap"

POWER = {
    "async": "disabled\n",
    "autosuspend_delay_ms": "",
    "control": "auto\n",
    "runtime_active_kids": "0\n",
    "runtime_active_time": "0\n",
    "runtime_enabled": "disabled\n",
    "runtime_status": "unsupported\n",
    "runtime_suspended_time": "0\n",
    "runtime_usage": "0\n",
}
WRITABLE = {"enabled", "uevent", "async", "autosuspend_delay_ms", "control"}

RANGE = "262143328850\n"
DRAM_RANGE = "65712999613\n"
IDLE = {"long_term": ("0\n", "976\n", "")}

FAULTS: list[dict[str, Any]] = tomllib.loads((Path(__file__).parent / "planted.toml").read_text())["fault"]


def mode_of(name: str) -> int:
    if name in WRITABLE or name.endswith(("_power_limit_uw", "_time_window_us")):
        return 0o644
    return 0o400 if name == "energy_uj" else 0o444


def add(tree: Tree, path: str, files: dict[str, str]) -> None:
    """Add a control type or zone: its own files, what the driver core adds, and its class link."""
    name, parent = path.rpartition("/")[2], path.rpartition("/")[0]
    tree[path] = ("dir", 0o755, "")
    tree[f"{path}/power"] = ("dir", 0o755, "")
    for file, text in {**{f"power/{file}": text for file, text in POWER.items()}, "uevent": "", **files}.items():
        tree[f"{path}/{file}"] = ("file", mode_of(file.rpartition("/")[2]), text)
    tree[f"{path}/subsystem"] = ("link", 0o777, "../" * len(path.split("/")) + CLASS)
    if parent != TOP:
        tree[f"{path}/device"] = ("link", 0o777, f"../../{parent.rpartition('/')[2]}")
    tree[f"{CLASS}/{name}"] = ("link", 0o777, f"../../{path}")


def zone(name: str, energy: int, range_: str, limits: dict[str, tuple[str, str, str]]) -> dict[str, str]:
    files = {"name": f"{name}\n", "energy_uj": f"{energy}\n", "max_energy_range_uj": range_, "enabled": "1\n"}
    for number, (limit, (power, window, most)) in enumerate(limits.items()):
        files[f"constraint_{number}_name"] = f"{limit}\n"
        files[f"constraint_{number}_power_limit_uw"] = power
        files[f"constraint_{number}_time_window_us"] = window
        files[f"constraint_{number}_max_power_uw"] = most
    return files


def server() -> Tree:
    """Two sockets of Skylake-SP: package-0 and package-1, each with dram in steps of 15.3 uJ."""
    tree: Tree = {}
    limits = {
        "long_term": ("165000000\n", "999424\n", "165000000\n"),
        "short_term": ("198000000\n", "13664\n", "375000000\n"),
    }
    top = f"{TOP}/intel-rapl"
    add(tree, top, {"enabled": "1\n"})
    for number in range(2):
        add(tree, f"{top}/intel-rapl:{number}", zone(f"package-{number}", 61_035, RANGE, limits))
        memory = {"long_term": ("0\n", "976\n", "41250000\n")}
        below = f"{top}/intel-rapl:{number}/intel-rapl:{number}:0"
        add(tree, below, zone("dram", 15_300, DRAM_RANGE, memory))
    return tree


def client() -> Tree:
    """A client with core, uncore, dram, peak_power and psys."""
    tree: Tree = {}
    limits = {
        "long_term": ("15000000\n", "27983872\n", "15000000\n"),
        "short_term": ("25000000\n", "2440\n", "0\n"),
        "peak_power": ("61000000\n", "", "0\n"),
    }
    package = f"{TOP}/intel-rapl/intel-rapl:0"
    add(tree, f"{TOP}/intel-rapl", {"enabled": "1\n"})
    add(tree, package, zone("package-0", 61_035, RANGE, limits))
    add(tree, f"{package}/intel-rapl:0:0", zone("core", 122, RANGE, IDLE))
    add(tree, f"{package}/intel-rapl:0:1", zone("uncore", 183, RANGE, IDLE))
    add(tree, f"{package}/intel-rapl:0:2", zone("dram", 244, RANGE, {"long_term": ("0\n", "976\n", "0\n")}))
    platform = {"long_term": ("0\n", "27983872\n", ""), "short_term": ("0\n", "976\n", "")}
    add(tree, f"{TOP}/intel-rapl/intel-rapl:1", zone("psys", 61_035, RANGE, platform))
    return tree


def plain() -> Tree:
    """A made control type with seventeen zones, :0 to :9, :a to :f and :10; the first has three constraints."""
    tree: Tree = {}
    add(tree, f"{TOP}/plain", {"enabled": "1\n"})
    for number in range(17):
        files = {"name": f"z{number}\n", "enabled": "1\n", "power_uw": "5000000\n"}
        add(tree, f"{TOP}/plain/plain:{number:x}", files)
    for number, name in enumerate(("a name of 29 characters, cut!\n", "b\n", "c\n")):
        for what, text in (("name", name), ("power_limit_uw", "7\n"), ("time_window_us", "8\n")):
            file = f"constraint_{number}_{what}"
            tree[f"{TOP}/plain/plain:0/{file}"] = ("file", mode_of(file), text)
    # The zone for the eleventh constraint has the ten before it.
    for number in range(10):
        for what, text in (("name", "n\n"), ("power_limit_uw", "7\n"), ("time_window_us", "8\n")):
            file = f"constraint_{number}_{what}"
            tree[f"{TOP}/plain/plain:1/{file}"] = ("file", mode_of(file), text)
    return tree


def thermal() -> Tree:
    """A dtpm tree: power and no energy, one constraint whose window does not read."""
    tree: Tree = {}
    add(tree, f"{TOP}/dtpm", {"enabled": "1\n"})
    for path in ("dtpm:0", "dtpm:0/dtpm:0:0"):
        files = zone("soc", 0, "", {"Instantaneous": ("2000000\n", "", "4000000\n")})
        files = {name: text for name, text in files.items() if "energy" not in name}
        add(tree, f"{TOP}/dtpm/{path}", {**files, "power_uw": "1500000\n", "max_power_range_uw": "3500000\n"})
    return tree


def mmio() -> Tree:
    """The client beside the second view of its package."""
    tree = client()
    add(tree, f"{TOP}/intel-rapl-mmio", {"enabled": "1\n"})
    limits = {"long_term": ("15000000\n", "27983872\n", "15000000\n"), "short_term": ("30000000\n", "2440\n", "0\n")}
    package = f"{TOP}/intel-rapl-mmio/intel-rapl-mmio:0"
    add(tree, package, zone("package-0", 61_035, RANGE, limits))
    add(tree, f"{package}/intel-rapl-mmio:0:0", zone("dram", 244, RANGE, IDLE | {"short_term": ("0\n", "976\n", "")}))
    return tree


def tpmi() -> Tree:
    """A server of one socket with TPMI: limits past 15 bits, a maximum for psys, dram in a unit of its own."""
    tree: Tree = {f"bus/auxiliary/devices/{name}": ("dir", 0o755, "") for name in ("intel_vsec.tpmi-rapl.0", "pmt.1")}
    limits = {
        "long_term": ("350000000\n", "999424\n", "350000000\n"),
        "short_term": ("5000125000\n", "1952\n", "6000000000\n"),
        "peak_power": ("7000000000\n", "", "12000000000\n"),
    }
    add(tree, f"{TOP}/intel-rapl", {"enabled": "1\n"})
    package = f"{TOP}/intel-rapl/intel-rapl:0"
    add(tree, package, zone("package-0", 61_035, RANGE, limits))
    add(
        tree,
        f"{package}/intel-rapl:0:0",
        zone("dram", 15_258, "65532610987\n", {"long_term": ("0\n", "976\n", "100000000\n")}),
    )
    platform = {"long_term": ("9000000000\n", "27983872\n", "9000000000\n"), "short_term": ("0\n", "976\n", "0\n")}
    add(tree, f"{TOP}/intel-rapl/intel-rapl:1", zone("psys", 61_035, RANGE, platform))
    return tree


TREES: dict[str, Callable[[], Tree]] = {tree.__name__: tree for tree in (server, client, plain, thermal, mmio, tpmi)}


def place(tree: Tree, path: str) -> str:
    """From the id of a control type or zone, with what follows it, to the path below /sys."""
    if path.startswith(("class/", "bus/")):
        return path
    name, slash, rest = path.partition("/")
    link = tree.get(f"{CLASS}/{name}")
    device = link[2].removeprefix("../../") if link else f"{TOP}/{name.partition(':')[0]}/{name}"
    return f"{device}{slash}{rest}"


def move(tree: Tree, old: str, new: str) -> None:
    """Move a zone with all that is in it; its own links and its class link are mended."""
    for path in [path for path in tree if path == old or path.startswith(f"{old}/")]:
        tree[path.replace(old, new, 1)] = tree.pop(path)
    old_name, new_name, parent = old.rpartition("/")[2], new.rpartition("/")[2], new.split("/")[-2]
    del tree[f"{CLASS}/{old_name}"]
    tree[f"{CLASS}/{new_name}"] = ("link", 0o777, f"../../{new}")
    tree[f"{new}/subsystem"] = ("link", 0o777, "../" * len(new.split("/")) + CLASS)
    if parent != "powercap":
        tree[f"{new}/device"] = ("link", 0o777, f"../../{parent}")


def drop(tree: Tree, path: str) -> None:
    for found in [found for found in tree if found == path or found.startswith(f"{path}/")]:
        del tree[found]
    if ":" in path.rpartition("/")[2]:
        tree.pop(f"{CLASS}/{path.rpartition('/')[2]}", None)


def plant(tree: Tree, fault: dict[str, Any]) -> None:
    for path in fault.get("directory", []):
        tree[place(tree, path)] = ("dir", 0o755, "")
    for old, new in fault.get("move", {}).items():
        move(tree, place(tree, old), place(tree, new))
    for path, text in fault.get("add", {}).items():
        tree[place(tree, path)] = ("file", 0o444, text)
    for path, target in fault.get("link", {}).items():
        tree[place(tree, path)] = ("link", 0o777, target)
    for path, text in fault.get("set", {}).items():
        kind, mode, _ = tree[place(tree, path)]
        tree[place(tree, path)] = (kind, mode, text)
    for one, other in fault.get("swap", []):
        here, there = place(tree, one), place(tree, other)
        tree[here], tree[there] = tree[there], tree[here]
    for path in fault.get("drop", []):
        drop(tree, place(tree, path))
    for path, mode in fault.get("mode", {}).items():
        kind, _, text = tree[place(tree, path)]
        tree[place(tree, path)] = (kind, int(mode, 8), text)


def write(tree: Tree, root: Path) -> Path:
    for path, (kind, mode, text) in sorted(tree.items()):
        entry = root / path
        entry.parent.mkdir(parents=True, exist_ok=True)
        if kind == "dir":
            entry.mkdir(exist_ok=True)
        elif kind == "link":
            entry.symlink_to(text)
        else:
            entry.write_bytes(text.encode())
            entry.chmod(mode)
    for path, (kind, mode, _) in tree.items():
        if kind == "dir":
            (root / path).chmod(mode)
    return root


class RememberedTree(WrittenTree):
    """A written tree that asks the file system once about each path, which makes a hundred faults quick to judge."""

    def __init__(self, root: Path, kernel: str | None) -> None:
        super().__init__(root, kernel)
        self.listdir = functools.cache(super().listdir)  # type: ignore[method-assign]
        self.inside = functools.cache(super().inside)  # type: ignore[method-assign]
        self.stat = functools.cache(super().stat)  # type: ignore[method-assign]


def verdicts(root: Path, kernel: str | None = None) -> dict[str, tuple[str, str]]:
    """Verdict and reason by clause."""
    subject = RememberedTree(root, kernel)
    found = [judge(clause, subject) for clause in load_clauses().values() if clause.kind == "provider"]
    return {verdict.clause.id: (verdict.verdict, verdict.reason) for verdict in found}


def failing(root: Path, kernel: str | None = None) -> dict[str, str]:
    found = verdicts(root, kernel)
    assert {word for word, _ in found.values()} <= {"pass", "fail", "not-applicable"}
    return {name: reason for name, (word, reason) in found.items() if word == "fail"}


@pytest.mark.parametrize("good", TREES)
@pytest.mark.parametrize("kernel", [None, "6.1.192", "6.12.117"])
def test_a_good_tree_fails_no_clause(good: str, kernel: str | None, tmp_path: Path) -> None:
    assert failing(write(TREES[good](), tmp_path), kernel) == {}


@pytest.mark.untraced  # test_planted_lies.py shows it
@pytest.mark.parametrize("fault", FAULTS, ids=[fault["title"].replace(" ", "-") for fault in FAULTS])
def test_a_planted_fault_fails_the_clauses_that_name_it_and_no_others(fault: dict[str, Any], tmp_path: Path) -> None:
    tree = TREES[fault["tree"]]()
    plant(tree, fault)
    assert sorted(failing(write(tree, tmp_path), fault.get("kernel"))) == sorted(fault["fails"])


def test_a_fault_is_told_with_the_path_and_both_values(tmp_path: Path) -> None:
    tree = server()
    plant(tree, {"set": {"intel-rapl:1/energy_uj": "61036\n"}})
    reason = failing(write(tree, tmp_path))["rapl.energy.whole-steps"]
    assert "intel-rapl/intel-rapl:1/energy_uj" in reason
    assert "61036" in reason
    assert "61035" in reason


def test_an_empty_class_directory_is_judged_and_right(tmp_path: Path) -> None:
    (tmp_path / CLASS).mkdir(parents=True)
    passed = {name for name, (word, _) in verdicts(tmp_path).items() if word == "pass"}
    assert passed == {"powercap.class.directory", "powercap.devices.when-empty"}
    assert failing(tmp_path) == {}


def test_a_folder_without_a_class_directory_cannot_be_judged(tmp_path: Path) -> None:
    assert {word for word, _ in verdicts(tmp_path).values()} == {"not-applicable"}


def test_a_masked_container_has_dangling_class_links_and_nothing_else_to_judge(tmp_path: Path) -> None:
    tree = {path: entry for path, entry in server().items() if path.startswith(CLASS)}
    assert set(failing(write(tree, tmp_path))) == {"powercap.class.leads"}


def test_a_tree_of_a_kernel_before_the_fix_may_show_everybody_the_energy(tmp_path: Path) -> None:
    tree = server()
    plant(tree, {"mode": {"intel-rapl:0/energy_uj": "0444", "intel-rapl:1/energy_uj": "0444"}})
    assert failing(write(tree, tmp_path), "4.19.100") == {}
