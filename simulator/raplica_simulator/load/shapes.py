# SPDX-License-Identifier: Apache-2.0
"""Watts that follow a shape: ``--load package=sine:40:100:60,dram=ramp:2:8:600,uncore=3``.

A shape is 64 steps in its time, each at a whole nanosecond and of whole microwatts, and the same on every machine:
no floating point comes near it.  Several shapes make the steps of one load; what repeats itself does so for ever.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Context, Decimal, Inexact, InvalidOperation
from fractions import Fraction
from itertools import groupby
from math import lcm
from operator import itemgetter

from raplica_simulator.decimals import read_decimal
from raplica_simulator.hardware.load_walk import LoadWalk
from raplica_simulator.hardware.topology import Topology
from raplica_simulator.live.clock import LiveClock
from raplica_simulator.load.control import merge_load
from raplica_simulator.load.demand import Load, Watts, microwatts
from raplica_simulator.load.steps import LoadSteps
from raplica_simulator.machine import Machine

__all__ = ["Level", "Ramp", "Shape", "ShapedLoad", "Sine", "read_shape", "seconds_ns"]

_NS_PER_S = 10**9
_UW_PER_W = 10**6
_NANOSECOND = Decimal("1e-9")
_EXACT = Context(prec=40, traps=[Inexact, InvalidOperation])
_STEPS = 64
_MOST_STEPS = 100_000
# Counters are updated once a millisecond: nobody sees what is faster.
_LEAST_NS = 1_000_000
# The sine of the first quarter of a circle in 16 steps, in parts of 10^15.
_QUARTER = (
    *(0, 98_017_140_329_561, 195_090_322_016_128, 290_284_677_254_462, 382_683_432_365_090, 471_396_736_825_998),
    *(555_570_233_019_602, 634_393_284_163_645, 707_106_781_186_548, 773_010_453_362_737, 831_469_612_302_545),
    *(881_921_264_348_355, 923_879_532_511_287, 956_940_335_732_209, 980_785_280_403_230, 995_184_726_672_197),
    10**15,
)


@dataclass(frozen=True, slots=True)
class Level:
    """The same watts for ever."""

    level_uw: int

    def steps(self, until_ns: int) -> Iterator[tuple[int, int]]:  # noqa: ARG002 - the shapes have one signature
        """Moments in ns, and the microwatts from then on."""
        yield 0, self.level_uw


@dataclass(frozen=True, slots=True)
class Ramp:
    """From one power to another within some time, in 64 equal steps up or down, and then that power for ever."""

    first_uw: int
    last_uw: int
    length_ns: int

    def steps(self, until_ns: int) -> Iterator[tuple[int, int]]:  # noqa: ARG002 - the shapes have one signature
        """Moments in ns, and the microwatts from then on."""
        for step in range(_STEPS + 1):
            rise_uw = (self.last_uw - self.first_uw) * step // _STEPS
            yield step * self.length_ns // _STEPS, self.first_uw + rise_uw


@dataclass(frozen=True, slots=True)
class Sine:
    """Up and down between two powers, from the middle upwards, for ever; a whole period draws just their mean.

    The mean is exact where 64 goes into the period; else the steps differ in length by a nanosecond.
    """

    low_uw: int
    high_uw: int
    period_ns: int

    def steps(self, until_ns: int) -> Iterator[tuple[int, int]]:
        """Moments in ns before `until_ns`, and the microwatts from then on."""
        levels_uw = [self._level_uw(step) for step in range(_STEPS)]
        for step in range(-(-until_ns * _STEPS // self.period_ns)):
            yield step * self.period_ns // _STEPS, levels_uw[step % _STEPS]

    def _level_uw(self, step: int) -> int:
        """The second half is the first one upside down, so that what is rounded in one is made good in the other."""
        half, within = divmod(step, _STEPS // 2)
        sine = _QUARTER[min(within, _STEPS // 2 - within)]
        above_uw = ((self.high_uw - self.low_uw) * (10**15 + sine)) // (2 * 10**15)
        return self.high_uw - above_uw if half else self.low_uw + above_uw


Shape = Level | Ramp | Sine


@dataclass(frozen=True, slots=True)
class ShapedLoad:
    """A shape for each of some domains, in every package; the other ones stay as the profile has them, if they fit.

    What comes late is worked out beforehand, so that nothing can fail later.
    """

    shapes: Mapping[str, Shape]

    def begin(self, machine: Machine, clock: LiveClock) -> LoadWalk:  # noqa: ARG002 - the plans have one signature
        """Work out every step; ValueError in one line where parts exceed their whole in any of them."""
        return machine.load.walk(self.steps(machine.load.now(), machine.profile.topology))

    def steps(self, base: Load, topology: Topology) -> LoadSteps:
        """The steps of a machine that without this would want ``base``; errors as `begin`."""
        period_ns, again_ns, until_ns = self._times_ns()
        changes = sorted(
            (at_ns, name, uw) for name, shape in self.shapes.items() for at_ns, uw in shape.steps(until_ns)
        )
        known: dict[tuple[int, ...], Load] = {}
        wanted_uw: dict[str, int] = {}
        moments_ns: list[int] = []
        loads: list[Load] = []
        for at_ns, those in groupby(changes, key=itemgetter(0)):
            wanted_uw |= {name: uw for _, name, uw in those}
            key = tuple(wanted_uw.values())
            if key not in known:
                known[key] = _merged(base, wanted_uw, topology, at_ns)
            moments_ns.append(at_ns)
            loads.append(known[key])
        return LoadSteps(moments_ns, loads, (moments_ns.index(again_ns), period_ns) if period_ns else None)

    def _times_ns(self) -> tuple[int, int, int]:
        """After how long all comes again, from when on, and until when steps are to be worked out; 0 for never."""
        sines = [shape.period_ns for shape in self.shapes.values() if isinstance(shape, Sine)]
        ramps = [shape.length_ns for shape in self.shapes.values() if isinstance(shape, Ramp)]
        if not sines:
            return 0, 0, 0
        period_ns = lcm(*sines)
        again_ns = -(-max(ramps, default=0) // period_ns) * period_ns
        until_ns = again_ns + period_ns
        count = sum(_STEPS * until_ns // one for one in sines)
        if count > _MOST_STEPS:
            raise ValueError(
                f"load: it takes {count} steps until these shapes begin again together, and {_MOST_STEPS} is the most: "
                f"choose longer periods, or periods that are multiples of each other"
            )
        return period_ns, again_ns, until_ns


def read_shape(text: str, name: str) -> Shape:
    """Read what a domain wants: ``100``, ``sine:LOW:HIGH:PERIOD`` or ``ramp:FROM:TO:TIME``, in watts and seconds.

    ``name`` is the domain's, for messages.  Raises ValueError in one line for anything else.
    """
    kind, colon, rest = text.partition(":")
    if not colon:
        return Level(microwatts(text, name))
    words = [word.strip() for word in rest.split(":")]
    if kind not in ("ramp", "sine") or len(words) != 3:
        raise ValueError(
            f"load: {name} is {text!r}, it must be watts, sine:LOW:HIGH:PERIOD or ramp:FROM:TO:TIME (watts, seconds)"
        )
    one_uw, other_uw = (microwatts(word, name) for word in words[:2])
    try:
        time_ns = seconds_ns(words[2])
    except ValueError as error:
        raise ValueError(f"load: {name}: {error}") from None
    if time_ns < _LEAST_NS:
        raise ValueError(f"load: {name}: {words[2]} s is shorter than 0.001 s, in which counters are updated once")
    if kind == "ramp":
        return Ramp(one_uw, other_uw, time_ns)
    if one_uw > other_uw:
        raise ValueError(f"load: {name} is {text!r}: give the lower watts first")
    return Sine(one_uw, other_uw, time_ns)


def seconds_ns(text: str) -> int:
    """Seconds as nanoseconds, exactly.  ValueError in one line for what is no number of 0 or more, or finer."""
    try:
        seconds = read_decimal(text)
    except ValueError:
        seconds = Decimal("nan")
    if not seconds.is_finite() or seconds < 0 or seconds.adjusted() > 12:
        raise ValueError(f"{text[:60]!r} is no number of seconds, such as 0 or 12.5")
    try:
        return int(_EXACT.scaleb(_EXACT.quantize(seconds, _NANOSECOND), 9))
    except Inexact:
        raise ValueError(f"{text[:60]} s is finer than a nanosecond") from None


def _merged(base: Load, wanted_uw: Mapping[str, int], topology: Topology, at_ns: int) -> Load:
    watts: dict[str, Watts] = {name: Fraction(uw, _UW_PER_W) for name, uw in wanted_uw.items()}
    try:
        load = merge_load(base, watts)
        load.check(topology)
    except ValueError as error:
        raise ValueError(f"{error} (so at {_seconds(at_ns)} s)") from None
    return load


def _seconds(ns: int) -> str:
    return f"{Decimal(ns) / _NS_PER_S:f}"
