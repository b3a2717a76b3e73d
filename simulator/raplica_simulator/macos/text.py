# SPDX-License-Identifier: Apache-2.0
"""powermetrics' text: a header, then a block for each sample.

Mirrors what is there about energy, as it was printed by an M1 with macOS 12 (codecarbon's tests), by an M1 Max with
macOS 13's first betas and an M3 with macOS 15, and by an Intel Mac with macOS 15.  The simulated machine has no
frequencies, residencies and instruction counts, so the lines about those are not there.
"""

from collections.abc import Collection
from fractions import Fraction

from raplica_simulator.macos.dates import print_date
from raplica_simulator.macos.mac import ANE, CPU, DRAM, GPU, PACKAGE, Mac
from raplica_simulator.macos.samples import Sample

__all__ = ["block", "header"]

_NS_PER_MS = 10**6


def header(mac: Mac, boot_ns: int) -> str:
    """What stands above all samples; ``boot_ns`` is a date in ns since 1970."""
    firmware = "" if mac.is_apple else f"SMC version: {mac.smc_version}\nEFI version: {mac.efi_version}\n"
    return (
        f"Machine model: {mac.model}\n"
        f"{firmware}"
        f"OS version: {mac.build}\n"
        f"Boot arguments: {mac.boot_arguments}\n"
        f"Boot time: {print_date(boot_ns, zone=False)}\n\n\n"
    )


def block(mac: Mac, sample: Sample, samplers: Collection[str], boot_ns: int) -> str:
    """One sample as the ``samplers`` show it: cpu_power, gpu_power, thermal; others show nothing here."""
    when = print_date(boot_ns + sample.at_ns, zone=True)
    lines = [f"\n*** Sampled system activity ({when}) ({_two_places(sample.elapsed_ns, _NS_PER_MS)}ms elapsed) ***\n"]
    if "cpu_power" in samplers:
        lines += ["\n**** Processor usage ****\n", *(_apple(mac, sample) if mac.is_apple else _intel(sample)), ""]
    if "gpu_power" in samplers and mac.is_apple:
        lines += ["\n**** GPU usage ****\n", _power(GPU.upper(), sample, GPU), ""]
    if "thermal" in samplers and mac.is_apple:
        lines += ["\n**** Thermal pressure ****\n", "Current pressure level: Nominal", ""]
    return "\n".join(lines) + "\n"


def _intel(sample: Sample) -> list[str]:
    watts = _two_places(*(sample.mw(PACKAGE) / 1000).as_integer_ratio())
    return [f"Intel energy model derived package power (CPUs+GT+SA): {watts}W"]


def _apple(mac: Mac, sample: Sample) -> list[str]:
    if not mac.has_package:
        combined = f"Combined Power (CPU + GPU + ANE): {_whole(sample.mw(CPU, GPU, ANE))} mW"
        return [*(_power(part.upper(), sample, part) for part in (CPU, GPU, ANE)), combined]
    clusters = [line for one in mac.clusters for line in (_power(one.name, sample, one.name), "")]
    parts = [_power(part.upper(), sample, part) for part in (ANE, DRAM, CPU, GPU)]
    return [*clusters, *parts, _power("Package", sample, PACKAGE)]


def _power(name: str, sample: Sample, part: str) -> str:
    return f"{name} Power: {_whole(sample.mw(part))} mW"


def _whole(number: Fraction) -> int:
    """Rounded to the nearest."""
    return (2 * number.numerator + number.denominator) // (2 * number.denominator)


def _two_places(numerator: int, denominator: int) -> str:
    """Rounded to two decimal places."""
    hundredths = _whole(Fraction(100 * numerator, denominator))
    return f"{hundredths // 100}.{hundredths % 100:02d}"
