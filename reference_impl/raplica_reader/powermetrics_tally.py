# SPDX-License-Identifier: Apache-2.0
"""Samples of powermetrics, added up so that each part can be read like a counter that begins at 0.

All parts of one sample belong together: a new one is taken when a part is asked for a second time.
"""

import errno
from abc import ABC, abstractmethod

from raplica_reader.powermetrics_output import NAMES, Reading

__all__ = ["Tally"]


class Tally(ABC):
    """The energies of all samples so far, by the names of `NAMES`."""

    def __init__(self) -> None:
        self.energies_nj: dict[str, int] = {}
        self._asked_for = set(NAMES)
        self._error: OSError | None = None

    @abstractmethod
    def take(self) -> None:
        """Take a sample now, and book it. OSError where there is none."""

    def close(self) -> None:  # noqa: B027 - not every place has something to give back
        """Give back what samples come from."""

    def book(self, reading: Reading) -> None:
        """Add a sample."""
        for name, spent_nj in reading.energies_nj.items():
            self.energies_nj[name] = self.energies_nj.get(name, 0) + spent_nj

    def count(self, name: str) -> int:
        """Nanojoules of a part since the beginning. OSError: as `take`, ENODATA for a part that there is not."""
        if name in self._asked_for:
            self._asked_for.clear()
            self._error = None
            try:
                self.take()
            except OSError as error:
                self._error = error
        self._asked_for.add(name)
        if self._error is not None:
            raise self._error
        try:
            return self.energies_nj[name]
        except KeyError:
            raise OSError(errno.ENODATA, f"powermetrics shows no {name}") from None
