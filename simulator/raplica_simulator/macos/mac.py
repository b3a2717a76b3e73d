# SPDX-License-Identifier: Apache-2.0
"""What macOS knows of a machine: its model, its release, the clusters of its processor, and which energies it shows.

An Intel Mac is a machine with RAPL registers.  Apple silicon has none: the system's own power controller counts, and
powermetrics is the door to it.  So a Mac is a machine of the simulator and this beside it.  Its domains mean:

* core: the CPU, all clusters together; uncore: the GPU;
* package: these, the neural engine, fabric and caches.  The memory is not in it, as on every machine here, but it is
  in what macOS calls the package of Apple silicon;
* dram: the memory.

Standard library only: the stand-in starts often.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from fractions import Fraction

__all__ = ["ANE", "CPU", "DRAM", "GPU", "PACKAGE", "Cluster", "Mac"]

CPU, GPU, ANE, DRAM, PACKAGE = "cpu", "gpu", "ane", "dram", "package"
_COMBINED_SINCE = 13
_PACKAGE = "package-0"
# Nanoseconds by which a sample ends later than it was asked for.  Apple silicon: medians of 7.9, 8.1 and 9.3 ms for
# 100, 250 and 1000 ms (macmon's study of powermetrics, M2), 4.5 to 9.2 ms for 100 ms on an M1 (codecarbon's tests).
# Intel: 1.02 ms for 1000 ms, from a single sample.
_LATE_NS = {True: (4_000_000, 12_000_000), False: (500_000, 1_500_000)}


@dataclass(frozen=True, slots=True)
class Cluster:
    """CPUs that macOS shows together, "P0-Cluster"; they are ``first`` and the ones behind it."""

    name: str
    first: int
    cores: int

    @property
    def cpus(self) -> range:
        """Their numbers."""
        return range(self.first, self.first + self.cores)


@dataclass(frozen=True, slots=True)
class Mac:
    """What the tools of macOS say of one machine beside its energy.

    Attributes:
        model: "MacBookAir10,1".
        release: the major version of macOS.
        build: of macOS, "21G115".
        clusters: of Apple silicon; empty stands for an Intel Mac.
        packages: how many there are.
        ane_part: the neural engine's part of what the package draws beside CPU and GPU.
        boot_arguments: of the kernel.
        smc_version: of an Intel Mac's system management controller.
        efi_version: of an Intel Mac's firmware.
        seed: of the times by which samples are late.
    """

    model: str
    release: int
    build: str
    clusters: tuple[Cluster, ...] = ()
    packages: int = 1
    ane_part: Fraction = field(default=Fraction(0))
    boot_arguments: str = ""
    smc_version: str = ""
    efi_version: str = ""
    seed: int = 0

    @property
    def is_apple(self) -> bool:
        """Whether this is Apple silicon."""
        return bool(self.clusters)

    @property
    def has_package(self) -> bool:
        """Whether its macOS tells what package and memory spend; for Apple silicon it has not since macOS 13."""
        return not self.is_apple or self.release < _COMBINED_SINCE

    @property
    def late_ns(self) -> tuple[int, int]:
        """By how many nanoseconds a sample is late, from and to."""
        return _LATE_NS[self.is_apple]

    @property
    def domains(self) -> tuple[str, ...]:
        """What to ask the machine for, in its own names."""
        if not self.is_apple:
            return tuple(f"package-{number}" for number in range(self.packages))
        cores = [f"{_PACKAGE}/core-{cpu}" for cluster in self.clusters for cpu in cluster.cpus]
        return (_PACKAGE, f"{_PACKAGE}/core", f"{_PACKAGE}/uncore", f"{_PACKAGE}/dram", *cores)

    def spent_uj(self, truths_uj: Mapping[str, int]) -> dict[str, Fraction]:
        """Microjoules that each part had spent in all, by its name, from those of the domains.

        The parts of Apple silicon are its clusters, :data:`GPU`, :data:`ANE`, :data:`DRAM` and :data:`PACKAGE`.
        """
        if not self.is_apple:
            return {PACKAGE: Fraction(sum(truths_uj[name] for name in self.domains))}
        package, gpu = truths_uj[_PACKAGE], truths_uj[f"{_PACKAGE}/uncore"]
        dram = truths_uj[f"{_PACKAGE}/dram"]
        clusters = {
            one.name: Fraction(sum(truths_uj[f"{_PACKAGE}/core-{cpu}"] for cpu in one.cpus)) for one in self.clusters
        }
        beside = package - truths_uj[f"{_PACKAGE}/core"] - gpu
        return clusters | {
            GPU: Fraction(gpu),
            ANE: beside * self.ane_part,
            DRAM: Fraction(dram),
            PACKAGE: Fraction(package + dram),
        }

    def to_json(self) -> str:
        """As text, for another process."""
        return json.dumps({**asdict(self), "ane_part": str(self.ane_part)})

    @classmethod
    def from_json(cls, text: str) -> Mac:
        """What :meth:`to_json` wrote."""
        document = json.loads(text)
        clusters = tuple(Cluster(**one) for one in document.pop("clusters"))
        return cls(clusters=clusters, ane_part=Fraction(document.pop("ane_part")), **document)
