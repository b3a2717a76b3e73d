# SPDX-License-Identifier: Apache-2.0
"""What becomes of a limit or a window that is written.

Mirrors set_power_limit, set_time_window, rapl_unit_xlate and rapl_write_data_raw in
drivers/powercap/intel_rapl_common.c. Each clause gets a machine on which nothing of another clause is left.
"""

from raplica_conformance.clause import clause, expect
from raplica_conformance.clauses import _driver
from raplica_conformance.clauses._reading import ANY_RAPL, MSR_RAPL, constraint_path, rapl_zones, since, value
from raplica_conformance.clauses._registers import LOCKS, Limit, code_to_set, lowered, register, settable
from raplica_conformance.clauses.parsing import outcome
from raplica_conformance.subject import Provider, constraints, readable

_NEEDS = ("writable", "content", "msr")
_WILD = ("wild-writes", "content", "msr")
_FIELD = 40
_WORD = 2**64


def _raw(tree: Provider, limit: Limit) -> int:
    return register(tree, tree.cpus()[0], limit.register) or 0


def _encoding_unknown(tree: Provider, limit: Limit) -> bool:
    """Whether the zone's range is of no known counter: then its windows may be of either encoding."""
    shown = value(tree, f"{limit.zone.path}/max_energy_range_uj")
    return shown is None or _driver.is_atom(_driver.unit_nj(shown)) is None


def _set(tree: Provider, path: str, number: int) -> None:
    data = b"%d\n" % number
    expect(outcome(tree, path, data), len(data), f"writing {number} to {path}")


@clause(
    "rapl.write.limit-rounds-down",
    level="must",
    title="A limit is cut to whole steps, never rounded up.",
    group="writes",
    source="drivers/powercap/intel_rapl_common.c rapl_unit_xlate (div64_u64)",
    needs=_NEEDS,
    drivers=MSR_RAPL,
    kernels=("4.1", None),
    threads=("https://github.com/powercap/raplcap/issues/11",),
    pitfalls=("limit-is-cut-to-steps", "power-unit-cut-to-uw"),
)
def limit_rounds_down(tree: Provider) -> None:
    """One uW less than a step is no step: with 125 mW, 124999 sets 0."""
    for limit, steps in lowered(tree):
        step = limit.units.power_uw
        for number in (steps * step, (steps + 1) * step - 1, steps * step + 1):
            _set(tree, limit.limit_path, number)
            expect(value(tree, limit.limit_path), steps * step, f"{limit.limit_path} after {number}")
        if "wild-writes" in tree.can:
            _set(tree, limit.limit_path, step - 1)
            expect(value(tree, limit.limit_path), 0, f"{limit.limit_path} after {step - 1}")


@clause(
    "rapl.write.limit-wraps",
    level="must",
    title="A limit that is too large for its field is cut to the field's bits, and the write succeeds.",
    group="writes",
    source="drivers/powercap/intel_rapl_common.c rapl_write_data_raw (bits &= rp->mask)",
    needs=_WILD,
    drivers=MSR_RAPL,
    kernels=("5.3", None),
    threads=("https://github.com/intel/thermal_daemon/issues/45",),
    pitfalls=("large-limit-wraps",),
)
def limit_wraps(tree: Provider) -> None:
    """Nothing is clamped and nothing refused: 15 bits of 125 mW are 4096 W, and 4096 W sets 0."""
    for limit in settable(tree):
        step = limit.units.power_uw
        _set(tree, limit.limit_path, ((1 << limit.width) + _FIELD) * step)
        expect(value(tree, limit.limit_path), _FIELD * step, f"{limit.limit_path} after a limit past its field")
        _set(tree, limit.limit_path, (1 << limit.width) * step)
        expect(value(tree, limit.limit_path), 0, f"{limit.limit_path} after one step more than its field holds")


@clause(
    "rapl.write.limit-unchecked",
    level="must",
    title="0, more than the maximum, and a long-term limit above the short-term one are accepted.",
    group="writes",
    source="drivers/powercap/intel_rapl_common.c set_power_limit",
    needs=_WILD,
    drivers=MSR_RAPL,
    kernels=("4.1", None),
    threads=("https://github.com/powercap/raplcap/issues/14",),
    pitfalls=("limits-are-not-checked", "info-maximum-often-zero"),
)
def limit_unchecked(tree: Provider) -> None:
    """No limit is checked against the information register or another limit: that maximum is 0 on most clients."""
    for limit in settable(tree):
        step = limit.units.power_uw
        top = ((1 << limit.width) - 1) * step
        for number in (0, top, 3 * step):
            _set(tree, limit.limit_path, number)
            expect(value(tree, limit.limit_path), number, f"{limit.limit_path} after {number}")


@clause(
    "rapl.write.limit-alone",
    level="must",
    title="Writing a limit changes the bits of that limit and no others.",
    group="writes",
    source="drivers/powercap/intel_rapl_common.c rapl_write_data_raw (read, modify, write)",
    needs=_NEEDS,
    drivers=MSR_RAPL,
    kernels=("4.1", None),
    threads=("https://github.com/powercap/raplcap/issues/1",),
    pitfalls=("limit-and-enable-are-apart",),
)
def limit_alone(tree: Provider) -> None:
    """Enable, clamp, window and the other limit stay as they are, reserved bits included."""
    for limit, steps in lowered(tree):
        before = _raw(tree, limit)
        _set(tree, limit.limit_path, steps * limit.units.power_uw)
        wanted = before & ~limit.limit_mask | steps << limit.shift
        expect(
            f"{_raw(tree, limit):#018x}", f"{wanted:#018x}", f"register {limit.register:#x} after {limit.limit_path}"
        )


@clause(
    "rapl.write.window-rounds-down",
    level="must",
    title="A window is cut to the next lower one that the field can hold.",
    group="writes",
    source="drivers/powercap/intel_rapl_common.c rapl_compute_time_window_core, rapl_compute_time_window_atom",
    needs=_WILD,
    drivers=MSR_RAPL,
    kernels=("4.1", None),
    threads=("https://github.com/powercap/raplcap/issues/13",),
    pitfalls=("window-is-cut-downward", "time-unit-is-976-us", "window-2440-written-back"),
)
def window_rounds_down(tree: Provider) -> None:
    """1 s reads back 999424, 28 s 27983872; 0 sets the shortest window and reads as one step, never as 0.

    Silvermont and Airmont count whole steps in 7 bits: 128 steps or more are cut to those bits, as limits are.
    """
    for limit in settable(tree):
        if not limit.window_mask or _encoding_unknown(tree, limit):
            continue
        step = limit.units.time_us
        # Before Linux 6.1 the logarithm of a window shorter than one step is taken all the same.
        short = (0,) if since(tree, "6.1") or limit.units.atom else ()
        for us in (*short, step, step + 1, 1_000_000, 10_000_000, 28_000_000, 32_000_000, 40_000_000, 120_000_000):
            code = us // step & 0x7F if limit.units.atom else _driver.window_code(us, step)
            _set(tree, limit.window_path, us)
            expect(value(tree, limit.window_path), limit.units.window_us(code), f"{limit.window_path} after {us}")


@clause(
    "rapl.write.window-alone",
    level="must",
    title="Writing a window changes the bits of that window and no others.",
    group="writes",
    source="drivers/powercap/intel_rapl_common.c rapl_write_data_raw (read, modify, write)",
    needs=_NEEDS,
    drivers=MSR_RAPL,
    kernels=("4.1", None),
    threads=("https://github.com/geopm/geopm/issues/95",),
    pitfalls=("windows-of-two-limits-are-apart",),
)
def window_alone(tree: Provider) -> None:
    """The window of the other limit in the same register stays: bits 23:17 and 55:49 of 0x610."""
    for limit in settable(tree):
        code = code_to_set(tree, limit) if limit.window_mask else None
        if code is not None:
            before = _raw(tree, limit)
            _set(tree, limit.window_path, limit.units.window_us(code))
            wanted = before & ~limit.window_mask | code << limit.window_shift
            seen = f"{_raw(tree, limit):#018x}"
            expect(seen, f"{wanted:#018x}", f"register {limit.register:#x} after {limit.window_path}")


@clause(
    "rapl.write.peak-window",
    level="must",
    title="The window of peak_power cannot be written: ENODATA.",
    group="writes",
    source="drivers/powercap/intel_rapl_common.c set_time_window",
    needs=("writable", "content"),
    drivers=ANY_RAPL,
    threads=("https://github.com/powercap/raplcap/issues/14",),
    pitfalls=("peak-power-has-no-window",),
)
def write_peak_window(tree: Provider) -> None:
    """Also on kernels that show a 0 for it."""
    for zone in rapl_zones(tree, ANY_RAPL):
        for n in constraints(tree, zone):
            if readable(tree, constraint_path(zone, n, "name")) == b"peak_power\n":
                path = constraint_path(zone, n, "time_window_us")
                expect(outcome(tree, path, b"1000\n"), "ENODATA", f"writing a window to {path}")


@clause(
    "rapl.write.success-means-done",
    level="must",
    title="Since Linux 6.5, a limit whose write reports success is in the register.",
    group="writes",
    source="drivers/powercap/intel_rapl_common.c rapl_write_pl_data",
    needs=_NEEDS,
    drivers=MSR_RAPL,
    kernels=("6.5", None),
    threads=("https://github.com/OpenGamingCollective/asusctl/issues/145", "https://github.com/geopm/geopm/issues/543"),
    pitfalls=("write-faults-before-6-5",),
)
def success_means_done(tree: Provider) -> None:
    """A register that faults, and a limit that was locked when the driver was loaded, give ENODATA."""
    for limit, steps in lowered(tree, locked=True):
        locked = _raw(tree, limit) & LOCKS
        number = steps * limit.units.power_uw
        found = outcome(tree, limit.limit_path, b"%d" % number)
        if found == "ENODATA":
            expect(value(tree, limit.limit_path) is not None, True, f"{limit.limit_path} reads after a refused write")
        elif not locked:
            expect(found, len(b"%d" % number), f"writing {number} to {limit.limit_path}")
            expect(value(tree, limit.limit_path), number, f"{limit.limit_path} after a write that reported success")


@clause(
    "rapl.write.window-five-codes",
    level="may",
    title="Five windows that can be read do not survive being written back.",
    group="known-bugs",
    source="drivers/powercap/intel_rapl_common.c rapl_compute_time_window_core (cut to whole steps first)",
    needs=_WILD,
    drivers=MSR_RAPL,
    kernels=("4.1", None),
    threads=("https://github.com/intel/thermal_daemon/pull/573",),
    pitfalls=("window-2440-written-back",),
)
def window_five_codes(tree: Provider) -> None:
    """Codes 0x20, 0x40 and 0x60 come back as 0, 0x21 as 1 and 0x61 as 0x41.

    So the window 2440 us, which most firmware sets for short_term, becomes 1952. No version that mends it was seen.
    """
    for limit in settable(tree):
        if not limit.window_mask or limit.units.atom:
            continue
        for code, stored in ((0x21, 0x01), (0x61, 0x41), (0x20, 0x00), (0x40, 0x00), (0x60, 0x00)):
            _set(tree, limit.window_path, limit.units.window_us(code))
            found = (_raw(tree, limit) & limit.window_mask) >> limit.window_shift
            expect(
                f"{found:#04x}", f"{stored:#04x}", f"window code after writing back {code:#04x} to {limit.window_path}"
            )
        return


@clause(
    "rapl.write.window-too-long",
    level="may",
    title="A window too long for its field becomes the longest; up to Linux 6.1 it wraps.",
    group="known-bugs",
    source="drivers/powercap/intel_rapl_common.c rapl_compute_time_window_core",
    needs=_WILD,
    drivers=MSR_RAPL,
    kernels=("5.3", "7.1"),
    pitfalls=("window-31-overflows",),
)
def window_too_long(tree: Provider) -> None:
    """Linux 6.12 stores 0x7F, and 6.1 keeps the exponent's low bits. Nothing between was seen, so nothing is judged.

    So 6.12 mends the wrapping; that 0x7F overflows when it is read is mended in Linux 7.1.
    """
    for limit in settable(tree):
        if not limit.window_mask or limit.units.atom:
            continue
        for us in (2**63 - 1, _WORD - 1):
            if since(tree, "6.12"):
                code = 0x7F
            elif not since(tree, "6.2"):
                code = _driver.wrapped_window_code(us, limit.units.time_us)
            else:
                return
            _set(tree, limit.window_path, us)
            expect(value(tree, limit.window_path), limit.units.window_us(code), f"{limit.window_path} after {us}")
