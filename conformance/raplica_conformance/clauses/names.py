# SPDX-License-Identifier: Apache-2.0
"""What zones and constraints are called: by the framework in directory names, by a driver in `name`.

Mirrors drivers/powercap/powercap_sys.c (ids are printed with %x, names with a newline, constraint names cut at
29 characters).
"""

import re

from raplica_conformance.clause import clause, expect
from raplica_conformance.clauses._reading import (
    constraint_path,
    control_type_paths,
    devices,
    directories,
    since,
    zones_of,
)
from raplica_conformance.subject import Provider, constraints, exists, readable

_ID = re.compile(r"0|[1-9a-f][0-9a-f]*")

#: POWERCAP_CONSTRAINT_NAME_LEN - 1 (drivers/powercap/powercap_sys.c show_constraint_name).
_CONSTRAINT_NAME = 29


@clause(
    "powercap.zone.id-text",
    level="must",
    title="The id in a zone's directory name is a lower-case hexadecimal number without leading zeros.",
    group="names",
    source="drivers/powercap/powercap_sys.c powercap_register_zone (dev_set_name %s:%x)",
    needs=("content",),
    threads=("https://github.com/intel/powertelemetry/issues/3",),
    pitfalls=("hexadecimal-zone-ids",),
)
def zone_id_text(tree: Provider) -> None:
    """A reader that expects digits alone loses the packages from the eleventh zone on."""
    for path in devices(tree):
        for name in directories(tree, path):
            if ":" in name:
                number = name.rpartition(":")[2]
                expect(_ID.fullmatch(number) is not None or number, True, f"{path}/{name} ends in a hexadecimal id")


@clause(
    "powercap.zone.id-counting",
    level="must",
    title="After id 9 comes a, and 10 is the seventeenth zone.",
    group="names",
    source="drivers/powercap/powercap_sys.c powercap_register_zone (dev_set_name %s:%x)",
    needs=("content",),
    pitfalls=("hexadecimal-zone-ids",),
)
def zone_id_counting(tree: Provider) -> None:
    """Ids are the lowest free numbers, so a zone 10 without any of a to f beside 9 was counted in decimal."""
    for path in devices(tree):
        ids = {name.rpartition(":")[2] for name in directories(tree, path) if ":" in name}
        if len(ids) > 10 or "9" in ids:
            past = {text for text in ids if len(text) > 1}
            counted = bool(ids & set("abcdef")) or not past
            expect(
                counted, True, f"zones in {path} are counted in hexadecimal: {' '.join(sorted(past))} without a to f"
            )


@clause(
    "powercap.zone.name",
    level="must",
    title="Every zone has a `name`.",
    group="presence",
    source="drivers/powercap/powercap_sys.c create_power_zone_common_attributes",
    needs=("content",),
    threads=("https://github.com/powerapi-ng/pyJoules/issues/14",),
)
def zone_name(tree: Provider) -> None:
    """The name alone says what a zone meters: its number does not."""
    for zone in zones_of(tree):
        expect(exists(tree, f"{zone.path}/name"), True, f"{zone.path}/name exists")


@clause(
    "powercap.zone.name-newline",
    level="must",
    title="A zone's name ends with one newline.",
    group="formats",
    source="drivers/powercap/powercap_sys.c name_show",
    needs=("content",),
    threads=("https://github.com/hubblo-org/scaphandre/issues/131",),
    pitfalls=("name-newline-read-only",),
)
def zone_name_newline(tree: Provider) -> None:
    """Readers compare names with and without it: a tree that lacks the newline hides the ones that forget to strip."""
    for zone in zones_of(tree):
        text = readable(tree, f"{zone.path}/name")
        if text is not None:
            expect((text[-1:], text.count(b"\n")), (b"\n", 1), f"{zone.path}/name ends with its only newline")


@clause(
    "powercap.zone.name-blanks",
    level="should",
    title="A zone's name has no blank or carriage return at its ends.",
    group="formats",
    source="drivers/powercap/powercap_sys.c name_show",
    needs=("content",),
)
def zone_name_blanks(tree: Provider) -> None:
    """The framework would show them, but no driver has such a name: they come from an editor or a copy."""
    for zone in zones_of(tree):
        text = (readable(tree, f"{zone.path}/name") or b"").rstrip(b"\n")
        if text:
            expect(text, text.strip(), f"{zone.path}/name has no blanks around it")


@clause(
    "powercap.constraint.name-newline",
    level="must",
    title="A constraint's name ends with one newline; before Linux 5.11 a name that was cut may lack it.",
    group="formats",
    source="drivers/powercap/powercap_sys.c show_constraint_name",
    needs=("content",),
    pitfalls=("constraint-name-cut-at-29",),
)
def constraint_name_newline(tree: Provider) -> None:
    """Older kernels print name and newline into one buffer, where a long name leaves no room for the newline."""
    may_lack_it = tree.kernel is None or not since(tree, "5.11")
    for zone in zones_of(tree):
        for constraint in constraints(tree, zone):
            path = constraint_path(zone, constraint, "name")
            text = readable(tree, path)
            if text and not (may_lack_it and len(text) == _CONSTRAINT_NAME and b"\n" not in text):
                expect((text[-1:], text.count(b"\n")), (b"\n", 1), f"{path} ends with its only newline")


@clause(
    "powercap.constraint.name-length",
    level="must",
    title="A constraint's name is cut to 29 characters; before Linux 5.11 the newline counts as one.",
    group="names",
    source="include/linux/powercap.h POWERCAP_CONSTRAINT_NAME_LEN",
    needs=("content",),
    pitfalls=("constraint-name-cut-at-29",),
)
def constraint_name_length(tree: Provider) -> None:
    """Whatever a driver calls its limit: nothing is lost silently but the end of a long name."""
    for zone in zones_of(tree):
        for constraint in constraints(tree, zone):
            path = constraint_path(zone, constraint, "name")
            text = readable(tree, path)
            if text:
                counted = text.removesuffix(b"\n") if since(tree, "5.11") else text
                expect(counted[:_CONSTRAINT_NAME], counted, f"{path} has at most {_CONSTRAINT_NAME} characters")


@clause(
    "powercap.control-type.no-name",
    level="must",
    title="A control type has no `name`: its directory is its name.",
    group="names",
    source="drivers/powercap/powercap_sys.c powercap_attrs",
    needs=("content",),
    threads=("https://github.com/prometheus/node_exporter/issues/2147",),
    pitfalls=("control-type-has-no-name",),
)
def control_type_no_name(tree: Provider) -> None:
    """Readers tell zones from control types by it."""
    for path in control_type_paths(tree):
        expect(exists(tree, f"{path}/name"), False, f"{path} has no name")
