# SPDX-License-Identifier: Apache-2.0
"""Which kernels can be simulated, and what a version that cannot be is told."""

import pytest

from raplica_fixtures import recording_paths
from raplica_simulator import KernelCrash, Machine
from raplica_simulator.linux.kernel import KERNELS, NEWEST, NOT_WITNESSED, find_kernel


def recorded() -> dict[str, set[str]]:
    """The machines that were recorded, by kernel."""
    found: dict[str, set[str]] = {}
    for path in recording_paths():
        machine, _, kernel = path.name.removesuffix(".json.xz").rpartition("-")
        found.setdefault(kernel, set()).add(machine)
    return found


def test_without_a_version_it_is_the_newest_kernel_on_which_everything_was_recorded() -> None:
    machines = recorded()
    everything = set().union(*machines.values())
    # On 6.1 there is no TPMI.
    most = [version for version in KERNELS if len(machines.get(version, ())) > 0.9 * len(everything)]
    assert most == ["6.1", "6.12"]
    assert find_kernel().version == NEWEST == most[-1]


def test_the_kernels_stand_in_order_and_a_row_has_the_name_of_its_version() -> None:
    numbers = [kernel.number for kernel in KERNELS.values()]
    assert numbers == sorted(numbers)
    assert [kernel.version for kernel in KERNELS.values()] == list(KERNELS)


def test_rows_from_source_claim_no_exact_release_and_say_that_nobody_saw_them() -> None:
    unseen = [kernel for kernel in KERNELS.values() if not kernel.witnessed]
    assert [kernel.version for kernel in unseen] == ["3.13", "5.5"]
    assert all(kernel.release == kernel.version and kernel.standing == NOT_WITNESSED for kernel in unseen)
    assert {kernel.standing for kernel in KERNELS.values() if kernel.witnessed} == {"witnessed"}


def test_there_are_recordings_of_the_witnessed_kernels_and_of_no_others() -> None:
    assert set(recorded()) == {kernel.version for kernel in KERNELS.values() if kernel.witnessed}


@pytest.mark.parametrize(
    ("asked", "release"),
    [
        ("6.1", "6.1.192"),
        ("6.12", "6.12.117"),
        ("7.2", "7.2.12"),
        *((release, release) for release in ("6.1.192", "6.12.117", "7.2.12")),
    ],
)
def test_a_series_and_its_exact_release_are_the_same_kernel(asked: str, release: str) -> None:
    assert find_kernel(asked).release == release


@pytest.mark.parametrize(
    ("asked", "nearest"),
    [
        ("6.2", "6.1"),
        ("6.6", "6.1"),
        ("6.11", "6.12"),
        ("6.14", "6.12"),
        ("3.16", "3.13"),
        ("4.19", "5.5"),
        ("5.15", "5.5"),
        ("7.0", "7.2"),
        ("7.1", "7.2"),
        ("7.3", "7.2"),
        ("6", "6.1"),
    ],
)
def test_an_unlisted_kernel_is_refused_in_one_line_that_names_the_nearest(asked: str, nearest: str) -> None:
    with pytest.raises(
        ValueError, match=rf"kernel '{asked}' is not simulated; the nearest that is: {nearest} "
    ) as refused:
        Machine.from_profile("zen4", kernel=asked)
    assert "\n" not in str(refused.value)
    assert "(witnessed: 6.1, 6.12, 7.2; from source, not witnessed: 3.13, 5.5)" in str(refused.value)


def test_a_version_that_is_no_number_is_refused_too() -> None:
    with pytest.raises(ValueError, match="'newest' is not simulated"):
        find_kernel("newest")


def test_another_release_of_a_listed_series_is_not_taken_for_it() -> None:
    with pytest.raises(ValueError, match=r"'6\.12\.1' is not simulated; the nearest that is: 6\.12"):
        find_kernel("6.12.1")


def test_a_crash_is_no_error_that_a_caller_of_the_kernel_could_get() -> None:
    assert issubclass(KernelCrash, Exception)
    assert not issubclass(KernelCrash, OSError)


def test_a_machine_says_which_kernel_it_runs() -> None:
    assert repr(Machine.from_profile("zen4", kernel="6.1")) == "<Machine zen4 on Linux 6.1>"
