# SPDX-License-Identifier: Apache-2.0
"""What the files say against what the registers say.

Mirrors rapl_read_data_raw and rapl_unit_xlate in drivers/powercap/intel_rapl_common.c. The units are judged by the
register and not by a list of models: what a model counts in beside its register is in rapl_defaults_*.
"""

from raplica_conformance.clause import clause, expect
from raplica_conformance.clauses import _driver
from raplica_conformance.clauses._reading import (
    MSR_RAPL,
    constraint_path,
    kind,
    rapl_zones,
    since,
    value,
)
from raplica_conformance.clauses._registers import (
    AMD_UNIT,
    INFO,
    LOCKS,
    cpus_behind,
    energy_register,
    first_family,
    limits,
    register,
    unit_register,
    units,
)
from raplica_conformance.subject import Provider, Zone

_LOW_32 = 0xFFFFFFFF
_TERMS = ("long_term", "short_term", "peak_power")


def _unit_nj(tree: Provider, zone: Zone) -> int:
    found = value(tree, f"{zone.path}/max_energy_range_uj")
    return (found is not None and found > 0 and _driver.unit_nj(found)) or 0


def _energy_agrees(tree: Provider, zone: Zone, cpu: int, address: int, unit: int) -> bool | None:
    """Whether energy_uj lies between two reads of the counter around it; None where something does not read.

    Where a step is worth less than 1 uJ, several counters read as one energy: one of them is to lie there.
    """
    before = register(tree, cpu, address)
    energy = value(tree, f"{zone.path}/energy_uj")
    after = register(tree, cpu, address)
    if before is None or energy is None or after is None or energy < 0:
        return None
    raws = _driver.raw_energies(energy, unit)
    width = _LOW_32 + 1
    # Two stretches of a circle meet where one of them begins within the other.
    return bool(raws) and (
        (raws.start - before) % width <= (after - before) % width or (before - raws.start) % width < len(raws)
    )


@clause(
    "rapl.agree.energy",
    level="must",
    title="`energy_uj` is the low 32 bits of the counter times the unit.",
    group="agreement",
    source="drivers/powercap/intel_rapl_common.c get_energy_counter, rapl_unit_xlate",
    needs=("content", "msr"),
    drivers=MSR_RAPL,
    threads=("https://github.com/geopm/geopm/issues/3914",),
    pitfalls=(
        "energy-is-raw-times-truncated-unit",
        "amd-64-bit-counters-wrap-at-32",
        "counter-is-32-bits",
        "amd-core-is-one-core",
    ),
)
def agree_energy(tree: Provider) -> None:
    """The product is cut to whole uJ. AMD's 64-bit counters are cut to 32 bits before."""
    for zone in rapl_zones(tree, MSR_RAPL):
        address, unit = energy_register(tree, zone), _unit_nj(tree, zone)
        if address is None or not unit:
            continue
        found = [_energy_agrees(tree, zone, cpu, address, unit) for cpu in cpus_behind(tree, zone)]
        if any(agrees is not None for agrees in found):
            expect(True in found, True, f"{zone.path}/energy_uj is register {address:#x} in steps of {unit} nJ")


@clause(
    "rapl.agree.range",
    level="must",
    title="The range follows from the unit register, but for dram and psys of some servers.",
    group="agreement",
    source="drivers/powercap/intel_rapl_common.c rapl_check_unit_core, rapl_check_unit_atom, rapl_defaults_*",
    needs=("content", "msr"),
    drivers=MSR_RAPL,
    kernels=("4.1", None),
    threads=(
        "https://github.com/RRZE-HPC/likwid/issues/39",
        "https://github.com/geopm/geopm/issues/497",
        "https://github.com/geopm/geopm/issues/3651",
    ),
    pitfalls=("range-is-2-32-minus-1-truncated-steps", "dram-15-3-uj-by-model", "silvermont-units"),
)
def agree_range(tree: Provider) -> None:
    """1/2^ESU J cut to nJ (2^ESU uJ on Silvermont); dram also 15300 nJ, psys also 1 J."""
    by_register = units(tree)
    for zone in first_family(tree):
        found = value(tree, f"{zone.path}/max_energy_range_uj")
        if not found or not kind(tree, zone):
            continue
        other = {"dram": _driver.DRAM_NJ, "psys": _driver.PSYS_NJ}.get(kind(tree, zone))
        lawful = [_driver.range_uj(by_register.energy_nj), *([_driver.range_uj(other)] if other else [])]
        expect(found if found in lawful else lawful[0], found, f"range of {zone.path} by the unit register")


@clause(
    "rapl.agree.limit",
    level="must",
    title="`power_limit_uw` is the limit's field times the power unit.",
    group="agreement",
    source="drivers/powercap/intel_rapl_common.c rpi_msr (POWER_LIMIT1, POWER_LIMIT2, POWER_LIMIT4)",
    needs=("content", "msr"),
    drivers=MSR_RAPL,
    kernels=("4.1", None),
    threads=("https://github.com/OpenGamingCollective/asusctl/issues/145",),
    pitfalls=("power-unit-cut-to-uw",),
)
def agree_limit(tree: Provider) -> None:
    """15 bits, 13 of peak power, 17 of psys on Sapphire Rapids."""
    for limit in limits(tree):
        raw, found = register(tree, tree.cpus()[0], limit.register), value(tree, limit.limit_path)
        if raw is not None and found is not None:
            field = (raw & limit.limit_mask) >> limit.shift
            expect(found, field * limit.units.power_uw, f"{limit.limit_path} by register {limit.register:#x}")


@clause(
    "rapl.agree.window",
    level="must",
    title="`time_window_us` is the window's field in the driver's arithmetic.",
    group="agreement",
    source="drivers/powercap/intel_rapl_common.c rpi_msr (TIME_WINDOW1, TIME_WINDOW2)",
    needs=("content", "msr"),
    drivers=MSR_RAPL,
    kernels=("4.1", None),
    threads=("https://github.com/powercap/raplcap/issues/13",),
    pitfalls=("time-unit-is-976-us", "silvermont-units"),
)
def agree_window(tree: Provider) -> None:
    """Seven bits beside each limit; peak power has none."""
    for limit in limits(tree):
        raw, found = register(tree, tree.cpus()[0], limit.register), value(tree, limit.window_path)
        if raw is not None and found is not None and limit.window_mask:
            code = (raw & limit.window_mask) >> limit.window_shift
            wanted = limit.units.window_us(code, overflows=not since(tree, "7.1"))
            expect(found, wanted, f"{limit.window_path} by register {limit.register:#x}")


@clause(
    "rapl.agree.enabled",
    level="must",
    title="`enabled` is the enable bit of the first limit, and 0 where there is none or it is locked.",
    group="agreement",
    source="drivers/powercap/intel_rapl_common.c get_domain_enable",
    needs=("content", "msr"),
    drivers=MSR_RAPL,
    threads=("https://github.com/powercap/raplcap/issues/1",),
    pitfalls=("locked-zone-reads-disabled", "amd-has-no-constraints"),
)
def agree_enabled(tree: Provider) -> None:
    """A locked zone reads 0 although its limit is in force, so 0 is judged only where no lock bit is set."""
    if unit_register(tree) == AMD_UNIT:
        for zone in rapl_zones(tree, MSR_RAPL):
            expect(value(tree, f"{zone.path}/enabled"), 0, f"{zone.path}/enabled without a limit")
        return
    for limit in limits(tree):
        raw, found = register(tree, tree.cpus()[0], limit.register), value(tree, limit.enabled_path)
        if limit.name == "long_term" and raw is not None and found is not None:
            bit = int(bool(raw & limit.enable))
            if found == 1 or not raw & LOCKS:
                expect(found, bit, f"{limit.enabled_path} by register {limit.register:#x}")


@clause(
    "rapl.agree.max-power",
    level="must",
    title="`max_power_uw` comes from the power information register.",
    group="agreement",
    source="drivers/powercap/intel_rapl_common.c get_max_power",
    needs=("content", "msr"),
    drivers=MSR_RAPL,
    kernels=("4.1", None),
    threads=("https://github.com/intel/powertelemetry/issues/3",),
    pitfalls=("info-maximum-often-zero", "max-power-without-info-register"),
)
def agree_max_power(tree: Provider) -> None:
    """Design power for long_term, maximum power for short_term, twice that for peak_power.

    Before Linux 6.5 the number of the constraint counts and not its name, so it is judged there only where both
    are the same.
    """
    for limit in limits(tree):
        address = INFO.get(kind(tree, limit.zone))
        raw = None if address is None else register(tree, tree.cpus()[0], address)
        found = value(tree, constraint_path(limit.zone, limit.number, "max_power_uw"))
        by_name = since(tree, "6.5") or _TERMS.index(limit.name) == limit.number
        if raw is not None and found is not None and by_name:
            field = {"long_term": raw & 0x7FFF, "short_term": raw >> 32 & 0x7FFF}
            field["peak_power"] = 2 * field["short_term"]
            wanted = field[limit.name] * limit.units.power_uw
            expect(found, wanted, f"maximum of constraint {limit.number} of {limit.zone.path} by {address:#x}")
