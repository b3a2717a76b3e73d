# SPDX-License-Identifier: Apache-2.0
"""What is made at each build of the manual: plots that are the simulator's, and a reference that leaves nothing out."""

import os
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import raplica_conformance
import raplica_fixtures
import raplica_reader
import raplica_simulator
from raplica_conformance.cli import cli as conformance
from raplica_fixtures import mac_ids, profile_ids, scenario_ids
from raplica_fixtures.cases import case_ids
from raplica_simulator.cli import cli as raplica

PACKAGES = (raplica_simulator, raplica_conformance, raplica_reader, raplica_fixtures)


@pytest.fixture(scope="module")
def plots(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("plots")


@pytest.fixture(scope="module")
def reference(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("reference")


@pytest.fixture(scope="module")
def drawn(plots: ModuleType) -> dict[str, Any]:
    """Every plot, once."""
    return {name: make() for name, make in plots.PLOTS.items()}


def curves(plot: Any) -> list[list[tuple[float, float]]]:
    """The points of its lines."""
    return [list(curve.points) for curve in plot.curves]


def test_every_plot_is_a_picture_that_needs_nothing_else(
    plots: ModuleType, drawn: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plots, "PLOTS", {name: partial(drawn.get, name) for name in drawn})
    written = plots.draw_all(tmp_path)
    assert [path.stem for path in written] == list(drawn)
    for path in written:
        root = ET.fromstring(path.read_text(encoding="utf-8"))  # noqa: S314 - we wrote it
        assert root.tag.endswith("svg")
        assert root[0].text  # what it says where it is not seen
        assert "href" not in path.read_text(encoding="utf-8")
        numbers = [float(word) for word in re.findall(r"[ML]([\d.]+) ", path.read_text(encoding="utf-8"))]
        assert 0 <= min(numbers) <= max(numbers) <= 720


def test_the_counter_in_the_plot_wraps_and_the_truth_does_not(drawn: dict[str, Any]) -> None:
    counter, truth = curves(drawn["wrap"])
    assert sum(after < before for (_, before), (_, after) in pairwise(counter)) == 4
    assert truth[-1] == (180.0, 100 * 3 * 3600 / 1e3)


def test_the_reader_in_the_plot_is_right_until_it_looks_too_rarely(drawn: dict[str, Any]) -> None:
    told = dict(curves(drawn["too-long"])[0])
    assert told[42.0] == pytest.approx(100, abs=0.01)
    assert max(watts for minutes, watts in told.items() if minutes > 44) < 50


def test_short_intervals_in_the_plot_are_worse_than_long_ones(drawn: dict[str, Any]) -> None:
    errors = [error for _, error in curves(drawn["too-short"])[0]]
    assert errors[0] > 99
    assert errors[-1] < 0.2


def test_the_counter_in_the_plot_moves_once_in_a_millisecond(drawn: dict[str, Any]) -> None:
    steps = curves(drawn["updates"])[0]
    moved = [at for (_, before), (at, after) in pairwise(steps) if after != before]
    assert [later - earlier for earlier, later in pairwise(moved)] == pytest.approx([1.0] * 5, abs=0.03)


def test_the_limit_in_the_plot_binds_until_it_is_lifted(drawn: dict[str, Any]) -> None:
    watts = dict(curves(drawn["limit"])[0])
    assert (watts[19.0], watts[25.0], watts[60.0], watts[100.0]) == (25.0, 25.0, 10.0, 25.0)


def test_the_reference_has_every_command(reference: ModuleType) -> None:
    names = set(reference.helps())
    assert names >= {f"raplica {name}" for name in raplica.commands if name != "conformance"}
    assert names >= {f"conformance {name}" for name in conformance.commands}
    assert names >= {"raplica-reader list", "raplica-reader read", "raplica-reader watch", "raplica-reader stepped"}
    assert all("xample" in text for text in reference.helps().values())


def test_the_reference_has_every_public_name(reference: ModuleType) -> None:
    text = reference.python()
    assert [
        name for package in PACKAGES for name in package.__all__ if f"### `{package.__name__}.{name}`" not in text
    ] == []


def test_the_reference_has_every_machine_scenario_and_case(reference: ModuleType) -> None:
    text = reference.machines()
    assert [name for name in (*profile_ids(), *mac_ids(), *scenario_ids()) if f"| `{name}` |" not in text] == []
    cases = reference.cases()
    assert [name for name in case_ids() if f"| `{name}` |" not in cases] == []


def test_only_pages_that_changed_are_written_again(
    reference: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = {"one": "first", "two": "second"}
    monkeypatch.setattr(reference, "PAGES", {name: partial(texts.get, name) for name in texts})
    one, two = reference.write_all(tmp_path)
    os.utime(one, (1, 1))
    os.utime(two, (1, 1))
    texts["two"] = "another"
    reference.write_all(tmp_path)
    assert (one.read_text(), two.read_text()) == ("first", "another")
    assert (one.stat().st_mtime, two.stat().st_mtime > 1) == (1, True)
