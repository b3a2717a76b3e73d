# SPDX-License-Identifier: Apache-2.0
"""Which kernels can be simulated, and what a version that cannot be is told."""

import pytest

from raplica_simulator import KernelCrash, Machine
from raplica_simulator.linux.kernel import KERNELS, NEWEST, find_kernel


def test_without_a_version_it_is_the_newest_witnessed_kernel() -> None:
    assert find_kernel().version == NEWEST == max(KERNELS, key=lambda version: KERNELS[version].number)


@pytest.mark.parametrize(
    ("asked", "release"),
    [("6.1", "6.1.192"), ("6.12", "6.12.117"), ("6.1.192", "6.1.192"), ("6.12.117", "6.12.117")],
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
        ("5.15", "6.1"),
        ("7.0", "6.12"),
        ("6", "6.1"),
    ],
)
def test_an_unlisted_kernel_is_refused_in_one_line_that_names_the_nearest(asked: str, nearest: str) -> None:
    with pytest.raises(
        ValueError, match=rf"kernel '{asked}' is not simulated; the nearest that is: {nearest} "
    ) as refused:
        Machine.from_profile("zen4", kernel=asked)
    assert "\n" not in str(refused.value)


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
