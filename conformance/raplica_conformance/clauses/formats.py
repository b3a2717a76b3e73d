# SPDX-License-Identifier: Apache-2.0
"""How numbers and switches are written.

Mirrors the show functions of drivers/powercap/powercap_sys.c: one decimal integer through %lld, or one 0 or 1, and
one newline. The three clauses about text divide the matter: the newline at the end, blanks anywhere, and what
is left when both are taken away.
"""

import re
from collections.abc import Iterator

from raplica_conformance.clause import clause, expect
from raplica_conformance.clauses._reading import (
    ANY_RAPL,
    NUMBERS,
    attributes,
    devices,
    limits_by_name,
    rapl_zones,
    value,
    zones_of,
)
from raplica_conformance.subject import Provider, constraints, readable

_DECIMAL = re.compile(rb"-?(0|[1-9][0-9]*)")
_BLANKS = re.compile(rb"[ \t\r\v\f\0]")


def _texts(tree: Provider, *, switches: bool, empty: bool = False) -> Iterator[tuple[str, bytes]]:
    """Path and text of every number that reads; where wanted also of every `enabled`, and also empty texts."""
    for path in devices(tree):
        for file in attributes(tree, path):
            name = file.rpartition("/")[2]
            if NUMBERS.fullmatch(name) or (switches and name == "enabled"):
                text = readable(tree, file)
                if text or (empty and text is not None):
                    yield file, text


@clause(
    "powercap.number.newline",
    level="must",
    title="A number or switch ends with one newline.",
    group="formats",
    source="drivers/powercap/powercap_sys.c (sprintf %lld\\n, %d\\n)",
    needs=("content",),
    threads=("https://github.com/flightlessmango/MangoHud/issues/507",),
)
def number_newline(tree: Provider) -> None:
    """Some readers cut the last character without looking at it: without the newline they lose a digit."""
    for path, text in _texts(tree, switches=True):
        expect((text[-1:], text.count(b"\n")), (b"\n", 1), f"{path} ends with its only newline")


@clause(
    "powercap.number.blanks",
    level="must",
    title="A number or switch holds no blank, tab, carriage return or NUL.",
    group="formats",
    source="drivers/powercap/powercap_sys.c (sprintf %lld\\n, %d\\n)",
    needs=("content",),
)
def number_blanks(tree: Provider) -> None:
    """They come from an editor, or from a copy through another operating system."""
    for path, text in _texts(tree, switches=True):
        expect(_BLANKS.sub(b"", text), text, f"{path} has no blanks")


@clause(
    "powercap.number.decimal",
    level="must",
    title="A number is written in decimal, without leading zeros, plus sign, point or unit.",
    group="formats",
    source="drivers/powercap/powercap_sys.c (sprintf %lld\\n)",
    needs=("content",),
    threads=("https://github.com/intel/thermal_daemon/issues/45",),
)
def number_decimal(tree: Provider) -> None:
    """There is no floating point in the kernel and no hexadecimal in this interface."""
    for path, text in _texts(tree, switches=False):
        bare = _BLANKS.sub(b"", text).strip()
        expect(_DECIMAL.fullmatch(bare) is not None or bare, True, f"{path} is a decimal integer")


@clause(
    "powercap.number.signed-64",
    level="must",
    title="A number fits into 64 bits with a sign.",
    group="formats",
    source="drivers/powercap/powercap_sys.c (sprintf %lld\\n of a u64)",
    needs=("content",),
    threads=("https://github.com/intel/thermal_daemon/issues/45",),
)
def number_signed_64(tree: Provider) -> None:
    """The value is unsigned and is printed as if it were signed: what lies above 2^63 - 1 shows as negative."""
    for path in devices(tree):
        for file in attributes(tree, path):
            found = value(tree, file) if NUMBERS.fullmatch(file.rpartition("/")[2]) else None
            if found is not None:
                expect(-(2**63) <= found < 2**63, True, f"{file} holds {found}, which 64 bits hold")


@clause(
    "rapl.number.not-negative",
    level="must",
    title="No number of a RAPL zone is negative.",
    group="formats",
    source="drivers/powercap/intel_rapl_common.c rapl_unit_xlate",
    needs=("content",),
    drivers=ANY_RAPL,
    threads=("https://github.com/sustainable-computing-io/kepler/issues/53",),
)
def number_not_negative(tree: Provider) -> None:
    """A register field times its unit stays far below 2^63, also where a window overflows."""
    for zone in rapl_zones(tree, ANY_RAPL):
        for file in attributes(tree, zone.path):
            found = value(tree, file) if NUMBERS.fullmatch(file.rpartition("/")[2]) else None
            if found is not None:
                expect(max(found, 0), found, f"{file} is not negative")


@clause(
    "powercap.enabled.digit",
    level="must",
    title="`enabled` reads as 0 or 1.",
    group="formats",
    source="drivers/powercap/powercap_sys.c enabled_show",
    needs=("content",),
)
def enabled_digit(tree: Provider) -> None:
    """Words are fine for writing; what is read is always a digit."""
    for path in devices(tree):
        text = readable(tree, f"{path}/enabled")
        if text is not None:
            expect(text.strip() in (b"0", b"1") or text.strip(), True, f"{path}/enabled is 0 or 1")


@clause(
    "rapl.control-type.enabled",
    level="must",
    title="`enabled` of a RAPL control type is always 1.",
    group="formats",
    source="drivers/powercap/intel_rapl_msr.c (powercap_register_control_type without ops)",
    needs=("content",),
    drivers=ANY_RAPL,
    threads=("https://github.com/powercap/raplcap/issues/1",),
    pitfalls=("control-type-enabled-always-one",),
)
def control_type_enabled(tree: Provider) -> None:
    """The driver has nothing to switch for all zones at once, and the framework then says 1."""
    for path in devices(tree):
        if path.rpartition("/")[2] in ANY_RAPL:
            text = readable(tree, f"{path}/enabled")
            if text is not None and text.strip() in (b"0", b"1"):
                expect(text.strip(), b"1", f"{path}/enabled")


@clause(
    "rapl.enabled.without-limit",
    level="must",
    title="`enabled` of a zone without long_term reads 0.",
    group="presence",
    source="drivers/powercap/intel_rapl_common.c get_domain_enable (PL1_ENABLE)",
    needs=("content",),
    drivers=ANY_RAPL,
    threads=("https://github.com/RRZE-HPC/likwid/issues/402",),
    pitfalls=("amd-has-no-constraints",),
)
def enabled_without_limit(tree: Provider) -> None:
    """The switch is that of the first limit: AMD and Hygon have none, core and uncore of some Atoms have none."""
    for zone in rapl_zones(tree, ANY_RAPL):
        names = limits_by_name(tree, zone)
        found = value(tree, f"{zone.path}/enabled")
        if found in (0, 1) and len(names) == len(constraints(tree, zone)) and "long_term" not in names:
            expect(found, 0, f"{zone.path}/enabled with {' '.join(names) or 'no constraint'}")


@clause(
    "powercap.number.not-empty",
    level="must",
    title="A number that can be read is not empty.",
    group="formats",
    source="drivers/powercap/powercap_sys.c (sprintf %lld\\n)",
    needs=("content", "errno"),
    threads=("https://github.com/flightlessmango/MangoHud/issues/1382",),
)
def number_not_empty(tree: Provider) -> None:
    """A failing read is an error and never zero bytes: a reader that takes nothing for 0 shows 0 W."""
    for path, text in _texts(tree, switches=True, empty=True):
        expect(text != b"", True, f"{path} has a text")


@clause(
    "powercap.zone.name-twice",
    level="must",
    title="Reading `name` twice gives the same text.",
    group="formats",
    source="fs/kernfs/file.c kernfs_fop_read_iter",
    needs=("content", "live"),
)
def zone_name_twice(tree: Provider) -> None:
    """Each read starts anew at the beginning: the second is not empty and not a continuation of the first."""
    for zone in zones_of(tree):
        first, second = readable(tree, f"{zone.path}/name"), readable(tree, f"{zone.path}/name")
        if first is not None:
            expect(second, first, f"{zone.path}/name read twice")
