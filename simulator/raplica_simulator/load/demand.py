# SPDX-License-Identifier: Apache-2.0
"""The watts that the parts of a machine want: what goes in where a joule starts to flow.

A `Load` holds for every package alike. `package` includes `core` and `uncore` but not `dram`; `psys` includes
everything and is package + dram unless it is given; `core` is all cores of a package together, spread evenly,
unless single cores are given. People write watts (command line, profile, Python); inside there are only whole
microwatts, so that energy stays exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Context, Decimal, Inexact, InvalidOperation
from fractions import Fraction
from types import MappingProxyType
from typing import TYPE_CHECKING

from raplica_simulator.decimals import read_decimal

if TYPE_CHECKING:
    from raplica_simulator.hardware.topology import Topology

CoreKey = tuple[int, int, int]  # package, die in its package, core in its die
Watts = int | float | str | Decimal | Fraction
_UW_PER_W = 1_000_000
_MICROWATT = Decimal("1e-6")
_EXACT = Context(prec=40, traps=[Inexact, InvalidOperation])
_LONGEST_SHOWN = 60
NAMES = ("package", "core", "uncore", "dram", "psys")


def microwatts(watts: Watts, name: str) -> int:
    """Return watts as whole microwatts; a float counts as what it prints as (0.1 is 100000).

    Raises ValueError in one line when it is not a number, not finite, negative or finer than a microwatt;
    `name` says whose watts.
    """
    if isinstance(watts, bool) or not isinstance(watts, int | float | str | Decimal | Fraction):
        raise ValueError(f"load: {name} is {watts!r}, it must be a number of watts")  # noqa: TRY004  # profiles and --load catch one kind
    if isinstance(watts, Fraction):
        if watts < 0:
            raise ValueError(f"load: {name} is {watts} W, it must be 0 or more")
        exact_uw = watts * _UW_PER_W
        if exact_uw.denominator != 1:
            raise ValueError(_finer(watts, name))
        return exact_uw.numerator
    try:
        number = Decimal(watts) if isinstance(watts, int | Decimal) else read_decimal(str(watts))
    except ValueError:
        raise ValueError(
            f"load: {name} is {_short(watts)!r}, it must be a number of watts such as 100 or 7.5"
        ) from None
    if not number.is_finite():
        raise ValueError(f"load: {name} is {watts}, it must be finite")
    if number.adjusted() > 12:
        raise ValueError(f"load: {name} is {_short(watts)} W, more than any machine draws")
    if number < 0:
        raise ValueError(f"load: {name} is {_short(watts)} W, it must be 0 or more")
    try:
        # Traces have many numbers: this is a sixth of what a Fraction would take.
        return int(_EXACT.scaleb(_EXACT.quantize(number, _MICROWATT), 6))
    except Inexact:
        raise ValueError(_finer(watts, name)) from None


def _finer(watts: Watts, name: str) -> str:
    return f"load: {name} is {_short(watts)} W, finer than a microwatt: give at most six decimals"


def _short(watts: Watts) -> str:
    """Watts as they were written; of a cell that fills a file, how it begins."""
    text = str(watts)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def watts_by_name(text: str) -> dict[str, Watts]:
    """Take `package=100,dram=7.5` apart; the watts are still text.

    Raises ValueError in one line for an unknown or repeated name and for a missing `=`.
    """
    given: dict[str, Watts] = {}
    for part in text.split(","):
        name, equals, watts = (word.strip() for word in part.partition("="))
        if not equals or not watts:
            raise ValueError(f"load: {part.strip()!r} is not NAME=WATTS: write it like package=100,dram=8")
        if name not in NAMES:
            raise ValueError(f"load: unknown name {name!r}: the names are {', '.join(NAMES)}")
        if name in given:
            raise ValueError(f"load: {name} is given twice: give it once")
        given[name] = watts
    return given


def _watts(uw: int) -> str:
    return f"{Decimal(uw) / _UW_PER_W:f} W"


@dataclass(frozen=True, slots=True)
class Load:
    """Microwatts wanted in every package.

    `cores_uw` maps (package, die in its package, core in its die) to what that core wants. `psys_uw` None
    means package + dram. Raises ValueError in one line when parts exceed their whole or a number is negative.
    """

    package_uw: int = 0
    core_uw: int = 0
    uncore_uw: int = 0
    dram_uw: int = 0
    psys_uw: int | None = None
    cores_uw: Mapping[CoreKey, int] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        for name, uw in (
            *self._named(),
            *((self._core_name(core), uw) for core, uw in self.cores_uw.items()),
        ):
            if type(uw) is not int or uw < 0:
                raise ValueError(f"load: {name} is {uw!r} uW, it must be a whole number of 0 or more")
        # A copy behind a read-only view: a frozen value must not change because its maker's dict does.
        object.__setattr__(self, "cores_uw", MappingProxyType(dict(self.cores_uw)))
        if self.cores_uw and self.core_uw:
            raise ValueError("load: core and single cores are both given: give the cores together or one by one")
        totals = {core[0]: 0 for core in self.cores_uw} or {0: self.core_uw}
        for (package, _, _), uw in self.cores_uw.items():
            totals[package] += uw
        core_uw = max(totals.values())
        if core_uw + self.uncore_uw > self.package_uw:
            raise ValueError(
                f"load: core {_watts(core_uw)} and uncore {_watts(self.uncore_uw)} exceed package "
                f"{_watts(self.package_uw)}, which includes them: lower them or raise package"
            )
        if self.psys_uw is not None and self.psys_uw < self.package_uw + self.dram_uw:
            raise ValueError(
                f"load: psys {_watts(self.psys_uw)} is below package {_watts(self.package_uw)} and dram "
                f"{_watts(self.dram_uw)}, which it includes: raise psys or leave it out"
            )

    def _named(self) -> Iterator[tuple[str, int]]:
        yield from (
            ("package", self.package_uw),
            ("core", self.core_uw),
            ("uncore", self.uncore_uw),
            ("dram", self.dram_uw),
        )
        if self.psys_uw is not None:
            yield "psys", self.psys_uw

    @staticmethod
    def _core_name(core: CoreKey) -> str:
        return "core " + ".".join(str(part) for part in core)

    @classmethod
    def of(
        cls,
        *,
        package: Watts = 0,
        core: Watts = 0,
        uncore: Watts = 0,
        dram: Watts = 0,
        psys: Watts | None = None,
        cores: Mapping[CoreKey, Watts] | None = None,
    ) -> Load:
        """Make a load from watts; raises ValueError as `microwatts` and the constructor do."""
        return cls().with_(cores or {}, package=package, core=core, uncore=uncore, dram=dram, psys=psys)

    @classmethod
    def parse(cls, text: str, base: Load | None = None) -> Load:
        """Read `package=100,dram=7.5` (watts, in every package); what is not named stays as in `base`, or 0.

        Raises ValueError in one line for anything else: an unknown or repeated name, a missing `=`, a bad
        number.
        """
        return (base or cls()).with_(None, **watts_by_name(text))

    def with_(self, cores: Mapping[CoreKey, Watts] | None = None, /, **watts: Watts | None) -> Load:
        """Return this load with some watts replaced by name; `cores` gives cores one by one.

        `core` replaces single cores and `cores` replaces `core`; psys=None means package + dram again. Raises
        TypeError for an unknown name, ValueError for watts that do not fit together.
        """
        values: dict[str, int | None] = dict(self._named())
        cores_uw = self.cores_uw
        for name, given in watts.items():
            if name not in NAMES:
                raise TypeError(f"load: unknown name {name!r}: the names are {', '.join(NAMES)}")
            if given is None and name != "psys":
                raise ValueError(f"load: {name} is None, it must be a number of watts")
            values[name] = None if given is None else microwatts(given, name)
            if name == "core":
                cores_uw = {}
        if cores is not None:
            cores_uw = {core: microwatts(given, self._core_name(core)) for core, given in cores.items()}
            if cores_uw and "core" not in watts:
                values["core"] = 0
        return Load(
            package_uw=values["package"] or 0,
            core_uw=values["core"] or 0,
            uncore_uw=values["uncore"] or 0,
            dram_uw=values["dram"] or 0,
            psys_uw=values.get("psys"),
            cores_uw=cores_uw,
        )

    def check(self, topology: Topology) -> None:
        """Raise ValueError in one line when a core does not exist or cores exceed their die's share."""
        of_die: dict[tuple[int, int], int] = {}
        for (package, die, core), uw in self.cores_uw.items():
            if not (
                0 <= package < topology.packages
                and 0 <= die < topology.dies_per_package
                and 0 <= core < topology.cores_per_die
            ):
                name = self._core_name((package, die, core))
                raise ValueError(
                    f"load: {name} does not exist: the machine has packages 0 to {topology.packages - 1}, "
                    f"dies 0 to {topology.dies_per_package - 1} in each and "
                    f"cores 0 to {topology.cores_per_die - 1} in each die"
                )
            of_die[package, die] = of_die.get((package, die), 0) + uw
        for (package, die), uw in of_die.items():
            if uw * topology.dies_per_package + self.uncore_uw > self.package_uw:
                raise ValueError(
                    f"load: the cores of die {package}.{die} want {_watts(uw)} and do not fit into its share "
                    f"(1/{topology.dies_per_package} of package {_watts(self.package_uw)}): "
                    f"lower them or raise package"
                )
