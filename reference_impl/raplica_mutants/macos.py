# SPDX-License-Identifier: Apache-2.0
"""Readers of macOS's powermetrics that are wrong about what a sample says, or what is in what."""

import errno
import plistlib
from collections.abc import Callable, Sequence

from raplica_mutants.right import RightPowermetrics, Tree
from raplica_reader.powermetrics_output import Reading as Sample
from raplica_reader.zone import Zone

__all__ = [
    "CombinedAdded",
    "JoulesForMillijoules",
    "LastPowerForAll",
    "NominalLength",
    "PackageAndParts",
    "SeparatorRead",
]

SEPARATOR = b"\0"
NS_PER_S = 10**9


class PackageAndParts(RightPowermetrics):
    """Adds CPU, GPU and memory to the package that contains them."""

    def counted(self, zones: Sequence[Zone]) -> Sequence[bool]:
        """Everything."""
        return [True for _ in zones]


class CombinedAdded(RightPowermetrics):
    """Takes the combined power for one more part beside CPU, GPU and neural engine."""

    def read(self, printed: bytes) -> Sample:
        """With a part that is all of them."""
        sample = super().read(printed)
        if "package" in sample.energies_nj:
            return sample
        return sample._replace(energies_nj=sample.energies_nj | {"dram": sum(sample.energies_nj.values())})


class NominalLength(RightPowermetrics):
    """Takes the power of a sample times the second that was asked for, however long it was."""

    def read(self, printed: bytes) -> Sample:
        """As if it had taken a second."""
        sample = super().read(printed)
        length_ns = sample.elapsed_ns or NS_PER_S
        return sample._replace(
            energies_nj={name: spent_nj * NS_PER_S // length_ns for name, spent_nj in sample.energies_nj.items()}
        )


class LastPowerForAll(RightPowermetrics):
    """Takes the power of the last sample for that of the whole time."""

    def __init__(self, tree: Tree, clock: Callable[[], int]) -> None:
        self.length_ns = 0
        self.said_nj: dict[str, int] = {}
        super().__init__(tree, clock)

    def read(self, printed: bytes) -> Sample:
        """So that all samples together are the last one."""
        sample = super().read(printed)
        self.length_ns += sample.elapsed_ns
        whole_nj = {
            name: spent_nj * self.length_ns // (sample.elapsed_ns or 1) for name, spent_nj in sample.energies_nj.items()
        }
        new_nj = {name: all_nj - self.said_nj.get(name, 0) for name, all_nj in whole_nj.items()}
        self.said_nj = whole_nj
        return sample._replace(energies_nj=new_nj)


class JoulesForMillijoules(RightPowermetrics):
    """Takes the joules of an Intel Mac for millijoules, which all other energies are."""

    def read(self, printed: bytes) -> Sample:
        """A thousandth of the package."""
        sample = super().read(printed)
        if b"package_joules" not in printed:
            return sample
        return sample._replace(energies_nj={"package": sample.energies_nj["package"] // 1000})


class SeparatorRead(RightPowermetrics):
    """Gives what is printed to a parser of property lists as it comes, with the NUL before it."""

    def read(self, printed: bytes) -> Sample:
        """Nothing but the first one can be read."""
        if printed.startswith(SEPARATOR):
            try:
                plistlib.loads(printed)
            except plistlib.InvalidFileException as error:
                raise OSError(errno.EBADMSG, str(error)) from None
        return super().read(printed)
