# SPDX-License-Identifier: Apache-2.0
"""Whether an attribute that gets its own text back leaves the register as it is.

Mirrors rapl_unit_xlate, rapl_compute_time_window_core and rapl_compute_time_window_atom of
drivers/powercap/intel_rapl_common.c. A limit is a field times a unit, so it always comes back. A window need not: the
driver cuts it to whole steps first, and five of the 128 codes read as no whole number of steps. Which step a machine
has stands in a register; where nobody sees that, every step that fits the windows of the zone has to agree.
"""

from collections.abc import Iterable

from raplica_conformance.clause import kernel_key
from raplica_conformance.clauses import _driver
from raplica_conformance.clauses._driver import Units

__all__ = ["code_survives", "kernel_is_known", "limit_survives", "window_survives"]

#: The first kernel with the arithmetic above: the single intel_rapl.c before counted windows in whole seconds.
_FIRST = "5.3"


def kernel_is_known(kernel: str | None) -> bool:
    """Whether this kernel computes as said here."""
    return kernel is not None and kernel_key(kernel) >= kernel_key(_FIRST)


def code_survives(code: int, units: Units) -> bool:
    """Whether a window's code is stored again when the driver is given what it reads as.

    Before Linux 6.2 a long window wraps, later it saturates; a code survives where both ways agree on it.
    """
    us = units.window_us(code)
    if units.atom:
        return us // units.time_us == code
    step = units.time_us
    return _driver.window_code(us, step) == code == _driver.wrapped_window_code(us, step)


def limit_survives(limit_uw: int, energy_nj: int | None) -> bool:
    """Whether a limit is a whole number of steps in some unit; `energy_nj` tells which kind of units there are."""
    return _driver.fits_power_unit([limit_uw], atom=_driver.is_atom(energy_nj))


def window_survives(window_us: int, others_us: Iterable[int], energy_nj: int | None) -> bool:
    """Whether a window survives in every time unit in which it and the other windows of its zone can be read.

    False where there is no such unit. `energy_nj`, the step of the zone's counter, tells whether windows are counted
    in the core's way or in Silvermont's; unknown, both have to agree.
    """
    atom = _driver.is_atom(energy_nj)
    known = {window_us, *(us for us in others_us if us)}
    kinds = ([False] if not atom else []) + ([True] if atom is not False else [])
    found = []
    for kind in kinds:
        for step in _driver.TIME_UNITS_US:
            units = Units(energy_nj or 0, 0, step, atom=kind)
            codes = _codes(units)
            if known <= codes.keys():
                found += [code_survives(code, units) for code in codes[window_us]]
    return bool(found) and all(found)


def _codes(units: Units) -> dict[int, list[int]]:
    """The codes by the window that they read as; two codes of one window cannot both survive."""
    codes: dict[int, list[int]] = {}
    for code in range(128):
        codes.setdefault(units.window_us(code), []).append(code)
    return codes
