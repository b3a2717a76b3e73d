# SPDX-License-Identifier: Apache-2.0
"""Draw the plots of docs/explanation.md from simulated machines: `python docs/plots.py`, and whenever it is built.

Every line is what a program would have read at that moment; nothing is drawn by hand. The plots are SVG, lie in
docs/_build/plots and are not kept in the repository.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import ceil, floor, log10
from pathlib import Path
from xml.sax.saxutils import escape

from raplica_simulator import Machine

OUT = Path(__file__).resolve().parent / "_build" / "plots"
ENERGY = "class/powercap/intel-rapl:0/energy_uj"
RANGE = "class/powercap/intel-rapl:0/max_energy_range_uj"
LIMIT = "class/powercap/intel-rapl:0/constraint_0_power_limit_uw"

_WIDTH, _HEIGHT = 720, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 20, 40, 48
# A card of its own: it is read on a light page and on a dark one, whatever the page's switch says.
_STYLE = """
.card{fill:#ffffff}.ink{fill:#1f2328}.faint{fill:#59636e}.grid{stroke:#d1d9e0}
.a{stroke:#0969da}.b{stroke:#bc4c00}.a-ink{fill:#0969da}.b-ink{fill:#bc4c00}
@media (prefers-color-scheme:dark){.card{fill:#151b23}.ink{fill:#f0f6fc}.faint{fill:#9198a1}.grid{stroke:#3d444d}
.a{stroke:#4493f8}.b{stroke:#db6d28}.a-ink{fill:#4493f8}.b-ink{fill:#db6d28}}
text{font:13px system-ui,sans-serif}.curve{fill:none;stroke-width:2;stroke-linejoin:round}.dash{stroke-dasharray:6 4}
"""

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Curve:
    """One line: what it shows, its points, and whether it goes in steps."""

    name: str
    points: Sequence[Point]
    is_stepped: bool = False


@dataclass(frozen=True, slots=True)
class Plot:
    """A picture of up to two curves over one axis each way; ``is_log`` is about both axes."""

    title: str
    x_name: str
    y_name: str
    curves: Sequence[Curve]
    is_log: bool = False
    from_zero: bool = True

    def svg(self) -> str:
        """The picture as a document."""
        xs = self._axis([x for curve in self.curves for x, _ in curve.points], from_zero=False)
        ys = self._axis([y for curve in self.curves for _, y in curve.points], from_zero=self.from_zero)
        right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">',
            f"<title>{escape(self.title)}</title><style>{_STYLE}</style>",
            f'<rect class="card" width="{_WIDTH}" height="{_HEIGHT}" rx="8"/>',
        ]
        for value in ys.ticks:
            y = bottom - ys.place(value) * (bottom - _TOP)
            parts.append(f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(f'<text class="faint" x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
        for value in xs.ticks:
            x = _LEFT + xs.place(value) * (right - _LEFT)
            parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{bottom}" y2="{bottom + 5}"/>')
            parts.append(f'<text class="faint" x="{x:.1f}" y="{bottom + 20}" text-anchor="middle">{value:g}</text>')
        parts.append(f'<text class="ink" x="{right}" y="{_HEIGHT - 8}" text-anchor="end">{escape(self.x_name)}</text>')
        parts.append(f'<text class="ink" x="12" y="22">{escape(self.y_name)}</text>')
        for number, (curve, kind) in enumerate(zip(self.curves, "ab", strict=False)):
            places = [
                (_LEFT + xs.place(x) * (right - _LEFT), bottom - ys.place(y) * (bottom - _TOP)) for x, y in curve.points
            ]
            dash = " dash" if number else ""  # so that the lines differ without colours, too
            parts.append(f'<path class="curve {kind}{dash}" d="{_path(places, is_stepped=curve.is_stepped)}"/>')
            x = right - 230 * (len(self.curves) - 1 - number)
            parts.append(f'<text class="{kind}-ink" x="{x}" y="22" text-anchor="end">{escape(curve.name)}</text>')
        return "\n".join([*parts, "</svg>\n"])

    def _axis(self, values: Sequence[float], *, from_zero: bool) -> "_Axis":
        if self.is_log:
            first, last = floor(log10(min(values))), ceil(log10(max(values)))
            return _Axis(first, last, tuple(10.0**power for power in range(first, last + 1)), is_log=True)
        low, high = (0.0 if from_zero else min(values)), max(values)
        step = 10.0 ** floor(log10((high - low) / 4))
        step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= 6)
        first, last = floor(low / step), ceil(high / step)
        return _Axis(first * step, last * step, tuple(step * number for number in range(first, last + 1)))


@dataclass(frozen=True, slots=True)
class _Axis:
    """From where to where an axis goes, and the values that are written at it."""

    low: float
    high: float
    ticks: tuple[float, ...]
    is_log: bool = False

    def place(self, value: float) -> float:
        """Where a value lies, from 0 to 1."""
        return ((log10(value) if self.is_log else value) - self.low) / (self.high - self.low)


def _path(places: Sequence[Point], *, is_stepped: bool) -> str:
    words = [f"M{places[0][0]:.1f} {places[0][1]:.1f}"]
    for (_, y), (next_x, next_y) in pairwise(places):
        if is_stepped and next_y != y:
            words.append(f"L{next_x:.1f} {y:.1f}")
        words.append(f"L{next_x:.1f} {next_y:.1f}")
    return "".join(words)


def _machine(profile: str = "skylake-sp-2s", watts: int = 100) -> Machine:
    """A machine under a steady load."""
    machine = Machine.from_profile(profile)
    machine.load.set(package=watts)
    return machine


def _read(machine: Machine, path: str = ENERGY) -> int:
    return int(machine.sysfs.read(path))


def _looks(machine: Machine, step_s: Fraction, count: int) -> Iterator[tuple[float, int, int]]:
    """Look ``count`` times, a step apart: seconds since the first, what the counter shows, what was truly spent."""
    first_ns, spent_uj = machine.clock.now_ns, machine.truth_uj("package-0")
    for _ in range(count):
        yield (machine.clock.now_ns - first_ns) / 1e9, _read(machine), machine.truth_uj("package-0") - spent_uj
        machine.clock.advance(seconds=step_s)


def wrap() -> Plot:
    """Three hours at 100 W."""
    looks = list(_looks(_machine(), Fraction(60), 181))
    return Plot(
        "The counter starts again every 44 minutes, the energy spent goes on",
        "minutes at 100 W",
        "kJ",
        (
            Curve("energy_uj", [(at / 60, counter / 1e9) for at, counter, _ in looks]),
            Curve("truly spent since", [(at / 60, spent / 1e9) for at, _, spent in looks]),
        ),
    )


def updates() -> Plot:
    """Six milliseconds, looked at every 20 us."""
    machine = _machine()
    machine.clock.advance(seconds=Fraction(1, 2000))
    looks = list(_looks(machine, Fraction(20, 1_000_000), 301))
    first = looks[0][1]
    return Plot(
        "The counter stands for a millisecond and then goes on at once",
        "milliseconds at 100 W",
        "mJ",
        (
            Curve("energy_uj", [(at * 1e3, (counter - first) / 1e3) for at, counter, _ in looks], is_stepped=True),
            Curve("truly spent since", [(at * 1e3, spent / 1e3) for at, _, spent in looks]),
        ),
    )


def too_short() -> Plot:
    """The worst of 40 readings at each of many lengths, in percent of 100 W; no length is a whole number of updates."""
    machine = _machine()
    machine.clock.advance(seconds=1)
    points = []
    for tenth in range(34):
        length_ns = round(10 ** (5.62 + tenth / 10))
        worst = 0.0
        for phase in range(40):
            machine.clock.advance(nanoseconds=-machine.clock.now_ns % 1_000_000 + 25_000 * phase)  # all of an update
            before = _read(machine)
            machine.clock.advance(nanoseconds=length_ns)
            watts = (_read(machine) - before) * 1000 / length_ns
            worst = max(worst, abs(watts - 100))
        points.append((length_ns / 1e6, worst))
    return Plot(
        "The shorter the interval, the more a reading can be wrong",
        "milliseconds between two looks",
        "worst error, % of 100 W",
        (Curve("of 40 readings each", points),),
        is_log=True,
    )


def too_long() -> Plot:
    """What a right reader that corrects one wrap makes of 100 W, by the length of its interval."""
    points = []
    for minutes in range(2, 182, 2):
        machine = _machine()
        before = _read(machine)
        machine.clock.advance(seconds=60 * minutes)
        after = _read(machine)
        spent_uj = after - before if after >= before else after - before + _read(machine, RANGE)
        points.append((float(minutes), spent_uj / 1e6 / (60 * minutes)))
    return Plot(
        "Whoever looks less than once in a turn of the counter loses whole turns",
        "minutes between two looks",
        "watts",
        (Curve("told, of 100 W", points),),
    )


def limit() -> Plot:
    """A limit of 10 W over 28 s, written at 20 s into a load of 25 W, and lifted at 80 s."""
    machine = _machine("kabylake", watts=25)
    points, before = [], machine.truth_uj("package-0")
    for second in range(120):
        if second in {20, 80}:
            machine.sysfs.write(LIMIT, b"10000000\n" if second == 20 else b"30000000\n")
        machine.clock.advance(seconds=1)
        after = machine.truth_uj("package-0")
        points.append((float(second), (after - before) / 1e6))
        before = after
    return Plot(
        "A limit bites when the energy of its window is used up",
        "seconds; 10 W from 20 s to 80 s",
        "watts",
        (Curve("drawn, of 25 W wanted", points, is_stepped=True),),
    )


PLOTS: dict[str, Callable[[], Plot]] = {
    "wrap": wrap,
    "updates": updates,
    "too-short": too_short,
    "too-long": too_long,
    "limit": limit,
}


def draw_all(out: Path = OUT) -> list[Path]:
    """Write every plot to ``out`` and return their paths."""
    out.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, plot in PLOTS.items():
        paths.append(out / f"{name}.svg")
        paths[-1].write_text(plot().svg(), encoding="utf-8")
    return paths


if __name__ == "__main__":
    for written in draw_all():
        sys.stdout.write(f"{written}: written\n")
