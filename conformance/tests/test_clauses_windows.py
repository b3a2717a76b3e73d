# SPDX-License-Identifier: Apache-2.0
"""The clauses about drivers, meters and the driver's loader: they hold on simulated Windows."""

from __future__ import annotations

from collections import Counter

import pytest

from raplica_conformance.clauses import _windows_versions
from raplica_conformance.subjects.windows import DEFAULT, SimulatedWindows, WindowsRun, driver_names
from raplica_simulator.windows.scaphandre_driver import ScaphandreDriver
from raplica_simulator.windows.scaphandre_versions import VERSIONS

from .lying_windows import CLAUSES, Lying, verdicts

# AMD in two packages of one group where that makes a difference: what takes a CPU, what knows vendors, the meters.
ON_AMD = (
    "v1",
    "v2-8-open",
    "v2-8-allow",
    "v3",
    "v3.1",
    "v3.1-mended",
    "v3.2",
    "v3.2-mended",
    "emi-amd",
    "emi-mirrored",
)


@pytest.mark.slow
@pytest.mark.parametrize(
    "wanted", [*(f"kabylake:{one}" for one in driver_names()), *(f"zen2-epyc-2s:{one}" for one in ON_AMD)]
)
def test_every_clause_holds_or_is_not_about_it(wanted: str) -> None:
    found = verdicts(SimulatedWindows(wanted))
    assert set(found.values()) <= {"pass", "not-applicable"}, found


def test_each_clause_is_about_one_of_the_default_subjects_at_least() -> None:
    held = {name for one in DEFAULT for name, word in verdicts(SimulatedWindows(one)).items() if word == "pass"}
    # Mirrored meters, and answers of versions that nobody ran, are not in the default set.
    assert set(CLAUSES) - held == {"windows.meter.mirrors", "windows.register.nothing"}
    assert "pass" in verdicts(SimulatedWindows("kabylake:emi-mirrored")).values()


def test_the_suite_knows_every_version_by_itself() -> None:
    assert list(_windows_versions.PROTOCOLS) == list(VERSIONS)


def test_of_a_version_that_nobody_knows_nothing_is_judged() -> None:
    found = verdicts(Lying(version="v9"))
    assert Counter(found.values())["fail"] == 0
    assert found["windows.register.listed"] == "not-applicable"


def test_what_a_subject_cannot_say_of_itself_is_an_error_of_the_suite() -> None:
    class Broken(WindowsRun):
        def run(self) -> None:
            raise FileNotFoundError("no machine")

    lying = Lying(make=ScaphandreDriver)
    lying.fresh = lambda: Broken(lying._subject._profile, "v3.2")  # type: ignore[method-assign]
    assert set(verdicts(lying).values()) & {"broken"}
