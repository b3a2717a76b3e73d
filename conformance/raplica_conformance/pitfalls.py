# SPDX-License-Identifier: Apache-2.0
"""The mistakes that simulators and readers of RAPL make, each under a slug that never changes.

docs/pitfalls.md tells each at length; a test holds page and list to each other. A clause names the slugs that it guards
against in its metadata, a test in `@pytest.mark.pitfall("slug")`; another test fails on a slug that nothing guards
against.
"""

from dataclasses import dataclass

__all__ = ["PITFALLS", "Pitfall"]


@dataclass(frozen=True, slots=True)
class Pitfall:
    """One mistake in one line."""

    slug: str
    title: str


_ALL = (
    # the framework and the shape of the tree
    Pitfall("flat-class-of-links", "The class directory is a tree, or holds directories"),
    Pitfall("control-type-has-no-name", "A control type has a name or a device link"),
    Pitfall("control-type-enabled-always-one", "The control type of RAPL can be switched off"),
    Pitfall("hexadecimal-zone-ids", "Zones are counted in decimal"),
    Pitfall("name-newline-read-only", "A name has no newline, or root may write it"),
    Pitfall("energy-root-only", "Everybody may read the energy, or root may write it"),
    Pitfall("energy-readable-before-5-10", "No kernel ever let everybody read the energy"),
    Pitfall("reset-takes-any-number", "A counter that can be reset is set to the number that is written"),
    Pitfall("uevent-reads-empty", "Every file of a zone has a text"),
    Pitfall("attributes-rapl-never-has", "A RAPL zone has every attribute of the documentation"),
    Pitfall("one-errno-per-attribute", "The driver's error reaches the reader"),
    Pitfall("number-parsing", "Numbers are parsed as in Python or C"),
    Pitfall("switch-parsing", "A switch takes 0 and 1 alone"),
    Pitfall("constraint-name-cut-at-29", "A constraint's name is as long as the driver likes"),
    Pitfall("zones-unregister-before-children", "A zone that has children cannot be unregistered"),
    Pitfall("zone-ids-are-reused", "A zone keeps its id for good"),
    # the zones of intel_rapl
    Pitfall("psys-is-a-top-level-zone", "psys is a part of a package"),
    Pitfall("psys-shifts-package-ids", "intel-rapl:N is package N"),
    Pitfall("packages-were-registered-backwards", "Packages are registered in the order of their numbers"),
    Pitfall("dram-is-child-zero-on-servers", "Child 0 of a package is core"),
    Pitfall("zero-counter-no-zone", "A domain that stands at 0 reads 0"),
    Pitfall("package-counter-zero-no-tree", "A machine without energy has a tree that reads 0"),
    Pitfall("die-in-package-name", "A package is called package-N"),
    Pitfall("max-power-without-info-register", "Every constraint has a maximum"),
    Pitfall("peak-power-has-no-window", "Every constraint has a window"),
    Pitfall("peak-power-by-model-list", "Who has register 0x601 has peak_power"),
    Pitfall("mmio-has-its-own-limits", "intel-rapl-mmio shows the limits of intel-rapl"),
    Pitfall("mmio-dram-has-two-constraints", "dram has one constraint everywhere"),
    Pitfall("amd-has-no-constraints", "AMD has limits, or refuses in the same way on every kernel"),
    Pitfall("amd-core-is-one-core", "core is all cores on AMD"),
    Pitfall("tpmi-layout", "TPMI registers look like MSRs"),
    # arithmetic
    Pitfall("range-is-2-32-minus-1-truncated-steps", "The range is a round number of joules"),
    Pitfall("energy-is-raw-times-truncated-unit", "Energy is computed with the exact unit"),
    Pitfall("wrap-is-one-step-more-than-the-range", "A wrap is worth the range"),
    Pitfall("limit-is-cut-to-steps", "A limit is rounded to the nearest step"),
    Pitfall("large-limit-wraps", "A limit that is too large is refused or clamped"),
    Pitfall("power-unit-cut-to-uw", "A power unit is an eighth of a watt"),
    Pitfall("limits-are-not-checked", "A limit is checked against its maximum or against another limit"),
    Pitfall("limit-and-enable-are-apart", "Writing a limit switches it on"),
    Pitfall("limit-write-ends-a-notification", "Writing a limit changes that limit and nothing else"),
    Pitfall("enabled-sets-clamps-too", "Switching a zone changes one bit"),
    Pitfall("time-unit-is-976-us", "A time unit is 1/1024 s"),
    Pitfall("window-2440-written-back", "What was read can be written back"),
    Pitfall("window-is-cut-downward", "A window is rounded to the nearest one"),
    Pitfall("windows-of-two-limits-are-apart", "The windows of a register are next to each other"),
    Pitfall("silvermont-units", "The unit register means the same everywhere"),
    Pitfall("dram-15-3-uj-by-model", "dram counts in the unit of its package"),
    Pitfall("broadwell-d-three-answers", "All tools agree on a counter"),
    Pitfall("amd-64-bit-counters-wrap-at-32", "A 64-bit counter does not wrap"),
    # registers and hardware
    Pitfall("lock-drops-writes", "A locked register faults"),
    Pitfall("lock-set-after-load", "The driver asks the lock at each write"),
    Pitfall("locked-zone-reads-disabled", "enabled is the enable bit"),
    Pitfall("register-scope", "Every CPU has a register of its own, or all share one"),
    Pitfall("update-grid-of-a-millisecond", "A counter moves all the time, or with each read"),
    Pitfall("what-includes-what", "The domains of a package add up to it"),
    Pitfall("counter-is-32-bits", "The whole register is the counter"),
    Pitfall("read-only-registers-fault", "Registers keep what is written"),
    Pitfall("info-maximum-often-zero", "The information register is filled in"),
    Pitfall("msr-and-mmio-limits-are-apart", "MSR and MMIO are two doors to one limit"),
    # other ways to the same registers
    Pitfall("msr-device-reads-one-register", "16 bytes of the msr device are two registers"),
    Pitfall("msr-device-errnos", "The msr device fails with EIO"),
    Pitfall("msr-writes-taint", "Root may write any MSR unnoticed"),
    Pitfall("perf-scale-and-codes", "perf counts in the unit of the register"),
    Pitfall("perf-amd-package-only", "perf has the same events everywhere"),
    Pitfall("hotplug-redetects", "Zones and limits outlive their CPUs"),
    Pitfall("suspend-restores-package-limits-only", "A machine resumes with all its limits"),
    Pitfall("kvm-reads-five-zeros", "A guest has no RAPL registers, or all of them"),
    # what real kernels do beyond their intention
    Pitfall("write-faults-before-6-5", "A write that succeeded was done"),
    Pitfall("lock-bit-31-or-63", "The lock is always at the top of the register"),
    Pitfall("window-31-overflows", "A longer window reads as a larger number"),
    Pitfall("spr-psys-clamp-is-a-limit-bit", "A clamp bit is a clamp bit in every register"),
)

#: Every mistake by slug, in the order of the page.
PITFALLS: dict[str, Pitfall] = {pitfall.slug: pitfall for pitfall in _ALL}
