# SPDX-License-Identifier: Apache-2.0
"""Samples: what counters show, and what becomes of those that fail."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

import raplica_reader
from raplica_reader import Sampler, delta, discover

if TYPE_CHECKING:
    from tests.conftest import Memory, Tree

PACKAGE_AND_DRAM = {
    "class/powercap/intel-rapl:0/name": b"package-0\n",
    "class/powercap/intel-rapl:0/max_energy_range_uj": b"262143328850\n",
    "class/powercap/intel-rapl:0/energy_uj": b"1000\n",
    "class/powercap/intel-rapl:0:0/name": b"dram\n",
    "class/powercap/intel-rapl:0:0/max_energy_range_uj": b"65712999613\n",
    "class/powercap/intel-rapl:0:0/energy_uj": b"2000\n",
}
PACKAGE = "class/powercap/intel-rapl:0/energy_uj"


def open_descriptors() -> int:
    """How many descriptors this process has, and one for looking."""
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_sample_has_the_counters_as_their_files_show_them(client: Tree, clock: SimpleNamespace) -> None:
    with Sampler(discover(client.root), clock=clock.read) as sampler:
        sample = sampler.sample()
    assert sample.at_ns == 1_000
    assert sample.energies_uj == (5_000_000, 2_000_000, 1_000_000, 500_000, 9_000_000, 5_000_000)
    assert sample.errors == (None,) * 6


def test_a_descriptor_that_stays_open_shows_fresh_values(tree: Tree) -> None:
    tree.zone("intel-rapl:0", "package-0", 1)
    with Sampler(discover(tree.root)) as sampler:
        seen = []
        for energy_uj in (1, 99, 1_000_000, 5):
            tree.show("intel-rapl:0", energy_uj)
            seen.append(sampler.sample().energies_uj[0])
    assert seen == [1, 99, 1_000_000, 5]


def test_every_descriptor_is_given_back(client: Tree) -> None:
    before = open_descriptors()
    sampler = Sampler(discover(client.root))
    with sampler:
        sampler.sample()
        assert open_descriptors() == before + 6
    assert open_descriptors() == before
    assert sampler.sample().errors == (None,) * 6
    sampler.close()
    sampler.close()


def test_more_zones_than_descriptors_are_read_all_the_same(client: Tree) -> None:
    before = open_descriptors()
    with Sampler(discover(client.root), max_open=2) as sampler:
        for _ in range(2):
            assert sampler.sample().energies_uj == (5_000_000, 2_000_000, 1_000_000, 500_000, 9_000_000, 5_000_000)
        assert open_descriptors() == before + 2


def test_a_process_that_may_open_few_files_reads_every_zone(client: Tree) -> None:
    code = f"""if True:
        import resource, sys
        sys.path.insert(0, {str(Path(raplica_reader.__file__).parents[1])!r})
        from raplica_reader import Sampler, discover
        with Sampler(discover({str(client.root)!r})) as sampler:
            resource.setrlimit(resource.RLIMIT_NOFILE, (6, 6))
            for _ in range(3):
                print(sampler.sample().energies_uj)
    """
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "(5000000, 2000000, 1000000, 500000, 9000000, 5000000)\n" * 3


def test_a_counter_that_came_back_in_another_file_is_read_again(tree: Tree) -> None:
    file = tree.zone("intel-rapl:0", "package-0", 10) / "energy_uj"
    with Sampler(discover(tree.root)) as sampler:
        assert sampler.sample().energies_uj == (10,)
        tree.write("intel-rapl:0", b"")  # what the open descriptor sees from now on
        file.unlink()
        file.write_bytes(b"20\n")
        first = sampler.sample()
        second = sampler.sample()
    assert (first.energies_uj, first.errors) == ((None,), ("ENODATA",))
    assert (second.energies_uj, second.errors) == ((20,), (None,))


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", "ENODATA"),
        (b"\n", "ENODATA"),
        (b"-5\n", "EBADMSG"),
        (b"1e6\n", "EBADMSG"),
        (b"1_000\n", "EBADMSG"),
        (b"12 34\n", "EBADMSG"),
        (b"1" * 5_000, "EBADMSG"),
    ],
)
def test_what_is_no_number_is_an_error_and_never_0(tree: Tree, content: bytes, error: str) -> None:
    tree.zone("intel-rapl:0", "package-0")
    tree.write("intel-rapl:0", content)
    with Sampler(discover(tree.root)) as sampler:
        sample = sampler.sample()
    assert (sample.energies_uj, sample.errors) == ((None,), (error,))


def test_a_number_without_a_newline_is_a_number(tree: Tree) -> None:
    tree.zone("intel-rapl:0", "package-0")
    tree.write("intel-rapl:0", b"123")
    with Sampler(discover(tree.root)) as sampler:
        assert sampler.sample().energies_uj == (123,)


def test_one_failing_zone_does_not_disturb_the_others(memory: type[Memory]) -> None:
    files = memory(PACKAGE_AND_DRAM | {PACKAGE: OSError(errno.EINVAL, "the register faults")})
    sample = Sampler(discover(files)).sample()
    assert (sample.energies_uj, sample.errors) == ((None, 2000), ("EINVAL", None))


def test_an_errno_without_a_name_is_shown_as_a_number(memory: type[Memory]) -> None:
    files = memory(PACKAGE_AND_DRAM | {PACKAGE: OSError(4242, "odd")})
    assert Sampler(discover(files)).sample().errors == ("errno 4242", None)


def test_a_zone_without_a_counter_has_neither_energy_nor_error(tree: Tree) -> None:
    tree.zone("dtpm:0", "soc", energy_uj=None)
    tree.zone("intel-rapl:0", "package-0", 7)
    with Sampler(discover(tree.root)) as sampler:
        sample = sampler.sample()
    assert (sample.energies_uj, sample.errors) == ((None, 7), (None, None))
    assert [(spent.energy_uj, spent.error) for spent in delta(sample, sample)] == [(None, None), (0, None)]


def test_a_zone_outside_the_tree_is_an_error(tree: Tree) -> None:
    (tree.links / "intel-rapl:0").symlink_to("/proc")
    with Sampler(discover(tree.root)) as sampler:
        assert sampler.sample().errors == ("EXDEV",)
