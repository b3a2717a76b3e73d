# SPDX-License-Identifier: Apache-2.0
"""How the registers themselves behave when they are read and written.

Mirrors Intel SDM vol. 3B, the chapter on RAPL, and RDMSR and WRMSR of vol. 2. A machine whose registers are
a plain table (one made from a recording) has none of these rules, so the clauses about faults need "silicon".
"""

import errno

from raplica_conformance.clause import clause, expect, not_applicable
from raplica_conformance.clauses._reading import MSR_RAPL, kind, rapl_zones
from raplica_conformance.clauses._registers import (
    AMD_UNIT,
    ENERGY,
    INFO,
    INTEL_UNIT,
    limits,
    register,
    unit_register,
)
from raplica_conformance.subject import Provider

#: An address that no processor with RAPL has.
_NOWHERE = 0xC0FFEE00


@clause(
    "rapl.agree.one-value-per-package",
    level="must",
    title="All CPUs of a package read the same package counter.",
    group="hardware",
    source="Intel SDM, MSR_PKG_ENERGY_STATUS (package scope)",
    needs=("content", "msr", "steps"),
    drivers=MSR_RAPL,
    threads=("https://github.com/RRZE-HPC/likwid/issues/365", "https://github.com/mlco2/codecarbon/issues/1274"),
    pitfalls=("register-scope",),
)
def agree_one_value_per_package(tree: Provider) -> None:
    """While no time passes there are at most as many values as package zones; adding up CPUs counts a package often.

    Judged on Intel: the driver's idea of an AMD package has changed between kernels.
    """
    if unit_register(tree) == AMD_UNIT:
        not_applicable("an AMD or Hygon machine")
    tops = [zone for zone in rapl_zones(tree, MSR_RAPL) if kind(tree, zone) == "package"]
    if tops:
        seen = {raw for cpu in tree.cpus() if (raw := register(tree, cpu, ENERGY["package"])) is not None}
        expect(len(seen) <= len(tops), True, f"{len(seen)} values of the counter with {len(tops)} packages")


def _refuses(tree: Provider, address: int, raw: int) -> str:
    """What wrmsr gives: the errno's name, or `succeeds`."""
    try:
        tree.msr_write(tree.cpus()[0], address, raw)
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error.errno))
    return "succeeds"


@clause(
    "hardware.registers.read-only",
    level="must",
    title="Writing the unit register, an energy counter or the power information faults.",
    group="hardware",
    source="Intel SDM, MSR_RAPL_POWER_UNIT, MSR_PKG_ENERGY_STATUS and MSR_PKG_POWER_INFO (RO)",
    needs=("msr", "wild-writes", "content", "silicon"),
    drivers=MSR_RAPL,
    pitfalls=("read-only-registers-fault",),
)
def registers_read_only(tree: Provider) -> None:
    """Wrmsr raises a general protection fault, which is EIO for a program; the value stays."""
    if unit_register(tree) == AMD_UNIT:
        not_applicable("an AMD or Hygon machine")
    for address in (INTEL_UNIT, ENERGY["package"], INFO["package"]):
        before = register(tree, tree.cpus()[0], address)
        if before is None:
            continue
        expect(_refuses(tree, address, before ^ 1), "EIO", f"writing {address:#x}")
        expect(register(tree, tree.cpus()[0], address), before, f"{address:#x} afterwards")


@clause(
    "hardware.registers.reserved",
    level="must",
    title="A write that sets a reserved bit of a limit register faults.",
    group="hardware",
    source="Intel SDM, MSR_PKG_POWER_LIMIT bits 31:24 and 62:56 (reserved)",
    needs=("msr", "wild-writes", "content", "silicon"),
    drivers=MSR_RAPL,
)
def registers_reserved(tree: Provider) -> None:
    """The driver never does so, because it changes its own fields only; a program with /dev/cpu/N/msr can."""
    cpu = tree.cpus()[0]
    if not any(limit.register == 0x610 and not limit.units.atom for limit in limits(tree)):
        not_applicable("no package limit here")
    before = register(tree, cpu, 0x610) or 0
    if before >> 63:
        not_applicable("the register is locked")
    for bit in (24, 30, 56, 62):
        expect(_refuses(tree, 0x610, before ^ 1 << bit), "EIO", f"writing reserved bit {bit} of 0x610")
    expect(register(tree, cpu, 0x610), before, "0x610 afterwards")


@clause(
    "hardware.registers.absent",
    level="must",
    title="Reading a register that the processor lacks faults.",
    group="hardware",
    source="Intel SDM, RDMSR (#GP on an unimplemented address)",
    needs=("msr", "content", "silicon"),
    drivers=MSR_RAPL,
    threads=("https://github.com/hubblo-org/windows-rapl-driver/issues/7",),
)
def registers_absent(tree: Provider) -> None:
    """EIO, not 0: a register that is there may well read 0, and the driver then makes no zone either."""
    try:
        found: int | str = tree.msr_read(tree.cpus()[0], _NOWHERE)
    except OSError as error:
        found = errno.errorcode.get(error.errno or 0, str(error.errno))
    expect(found, "EIO", f"reading {_NOWHERE:#x}")
