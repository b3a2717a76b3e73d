# SPDX-License-Identifier: Apache-2.0
"""What a write accepts and what it answers, before any driver is asked.

Mirrors the store functions of drivers/powercap/powercap_sys.c, lib/kstrtox.c (kstrtoull, kstrtobool),
fs/kernfs/file.c (a write is one page at most, an empty one is none) and drivers/base/core.c uevent_store. What cannot
be put back is written only where nobody needs the machine.
"""

import errno

from raplica_conformance.clause import clause, expect, not_applicable
from raplica_conformance.clauses._reading import (
    ANY_RAPL,
    MSR_RAPL,
    constraint_path,
    control_type_paths,
    devices,
    rapl_zones,
    since,
    value,
    zones_of,
)
from raplica_conformance.subject import Provider, constraints, exists

_PAGE = 4096

_REFUSED_NUMBERS = (
    b" 5", b"5 ", b"\t5", b"5\r\n", b"5\n\n", b"0x10", b"-1", b"-0", b"1e6", b"1.5", b"\n", b"5W", b"1_000",
    b"18446744073709551616",
)  # fmt: skip
_REFUSED_SWITCHES = (b"2", b"-1", b"o", b"ox", b"\n", b" 1", b"x", b"+1")
#: What is true, and what false, by the kernel since which it is.
_WORDS = (
    ("2.6", (b"1", b"1\n", b"10", b"1garbage", b"y", b"Yes"), (b"0", b"0\n", b"01", b"0x1", b"n", b"No")),
    ("4.6", (b"on", b"oN", b"ON\n"), (b"off", b"OF", b"offline")),
    ("5.18", (b"true", b"T"), (b"false", b"F")),
)


def outcome(tree: Provider, path: str, data: bytes) -> int | str:
    """The count of a write, or the name of its errno."""
    try:
        return tree.write(path, data)
    except OSError as error:
        number = error.errno or 0
        return errno.errorcode.get(number, str(number))


def _any_constraint(tree: Provider) -> str:
    """The first limit of any zone: parsing comes before the driver, so it need not be one that can be set."""
    for zone in zones_of(tree):
        if constraints(tree, zone):
            return constraint_path(zone, constraints(tree, zone)[0], "power_limit_uw")
    return not_applicable("no zone has a constraint")


def _limit_that_takes(tree: Provider) -> tuple[str, int]:
    """A limit that accepts its own value again and keeps it, and that value.

    A RAPL zone without units is passed over: writing its limit crashes Linux 6.12. A node of dtpm is, too: it splits
    what is written among the devices below it, and shows what these made of it.
    """
    for zone in zones_of(tree):
        if value(tree, f"{zone.path}/max_energy_range_uj") == 0:
            continue
        for n in constraints(tree, zone):
            path = constraint_path(zone, n, "power_limit_uw")
            limit = value(tree, path)
            if limit == 0 and "wild-writes" not in tree.can:
                # Most clients have a core limit of 0 that is switched off; a machine that somebody needs keeps it.
                continue
            if limit is None or outcome(tree, path, b"%d" % limit) != len(b"%d" % limit):
                continue
            if value(tree, path) == limit:
                return path, limit
    return not_applicable("no limit here can be set")


def _with_a_switch(tree: Provider) -> list[str]:
    """Every control type and zone; on a machine that somebody needs the RAPL zones that are switched on."""
    if "wild-writes" in tree.can:
        return devices(tree)
    return [zone.path for zone in rapl_zones(tree, MSR_RAPL) if value(tree, f"{zone.path}/enabled") == 1]


@clause(
    "powercap.write.number-accepted",
    level="must",
    title="A number may have a plus sign, leading zeros, one newline, and anything after a NUL.",
    group="writes",
    source="lib/kstrtox.c kstrtoull",
    needs=("writable", "content"),
    pitfalls=("number-parsing",),
)
def write_number_accepted(tree: Provider) -> None:
    """Each of these writes counts in full and sets the same limit as the bare digits."""
    path, limit = _limit_that_takes(tree)
    for text in (b"%d", b"%d\n", b"+%d", b"+%d\n", b"000%d", b"%d\0 W", b"%d\n\0"):
        data = text % limit
        expect(outcome(tree, path, data), len(data), f"writing {data!r} to {path}")
        expect(value(tree, path), limit, f"{path} after {data!r}")


@clause(
    "powercap.write.number-refused",
    level="must",
    title="Blanks, a minus sign, a second newline, hexadecimal, fractions and more than 64 bits are EINVAL.",
    group="writes",
    source="lib/kstrtox.c kstrtoull; drivers/powercap/powercap_sys.c store_constraint_*",
    needs=("writable", "content"),
    threads=("https://github.com/intel/thermal_daemon/issues/112",),
    pitfalls=("number-parsing",),
)
def write_number_refused(tree: Provider) -> None:
    """Whatever the parser says, ERANGE included, becomes EINVAL, and the limit stays."""
    path = _any_constraint(tree)
    for file in (path, path.replace("power_limit_uw", "time_window_us")):
        before = value(tree, file)
        for data in _REFUSED_NUMBERS:
            expect(outcome(tree, file, data), "EINVAL", f"writing {data!r} to {file}")
            expect(value(tree, file), before, f"{file} after {data!r}")


@clause(
    "powercap.write.empty",
    level="must",
    title="Writing nothing returns 0 and does nothing.",
    group="writes",
    source="fs/kernfs/file.c kernfs_fop_write_iter",
    needs=("writable", "content"),
)
def write_empty(tree: Provider) -> None:
    """No store function is called, so not even the parser sees it: `: > enabled` is no error and no change."""
    for path in _with_a_switch(tree):
        before = value(tree, f"{path}/enabled")
        if exists(tree, f"{path}/enabled"):
            expect(outcome(tree, f"{path}/enabled", b""), 0, f"writing nothing to {path}/enabled")
            expect(value(tree, f"{path}/enabled"), before, f"{path}/enabled after writing nothing")


@clause(
    "powercap.write.one-page",
    level="must",
    title="Of a longer write only the first page is taken.",
    group="writes",
    source="fs/kernfs/file.c kernfs_fop_write_iter (PAGE_SIZE)",
    needs=("writable", "content"),
)
def write_one_page(tree: Provider) -> None:
    """The count is 4096: a short write, and the number in the first page is set."""
    path, limit = _limit_that_takes(tree)
    data = b"%d\n" % limit
    data = b"0" * (_PAGE - len(data)) + data
    expect(outcome(tree, path, data + b"garbage"), _PAGE, f"writing {_PAGE + 7} bytes to {path}")
    expect(value(tree, path), limit, f"{path} after a write of more than a page")


@clause(
    "powercap.write.switch-refused",
    level="must",
    title="A switch that is neither true nor false is EINVAL.",
    group="writes",
    source="lib/kstrtox.c kstrtobool; drivers/powercap/powercap_sys.c enabled_store",
    needs=("writable", "content"),
    pitfalls=("switch-parsing",),
)
def write_switch_refused(tree: Provider) -> None:
    """The parser looks at the first letter (after an o at the second): a blank before it, or a 2, is neither."""
    for path in _with_a_switch(tree):
        file = f"{path}/enabled"
        before = value(tree, file)
        for data in _REFUSED_SWITCHES:
            expect(outcome(tree, file, data), "EINVAL", f"writing {data!r} to {file}")
        expect(value(tree, file), before, f"{file} after refused writes")


@clause(
    "rapl.write.switch-words",
    level="must",
    title="`enabled` takes any word that begins like yes, true, on or 1, and like no, false, off or 0.",
    group="writes",
    source="lib/kstrtox.c kstrtobool",
    needs=("writable", "content"),
    drivers=ANY_RAPL,
    pitfalls=("switch-parsing",),
)
def write_switch_words(tree: Provider) -> None:
    """`1garbage` and `10` are true, `01` and `0x1` are false. Judged on a zone that can be switched at all.

    on and off came with Linux 4.6, true and false with 5.18.
    """
    known = [(yes, no) for first, yes, no in _WORDS if since(tree, first)]
    switches = _with_a_switch(tree)
    for zone in rapl_zones(tree, ANY_RAPL):
        path = f"{zone.path}/enabled"
        if zone.path not in switches or outcome(tree, path, b"1") != 1 or value(tree, path) != 1:
            continue
        if outcome(tree, path, b"0") != 1 or value(tree, path) != 0:
            continue
        # One after the other, so that each word changes what there was.
        pairs = [pair for yes, no in known for pair in zip(yes, no, strict=True)]
        for data, wanted in [(word, wanted) for yes, no in pairs for word, wanted in ((yes, 1), (no, 0))]:
            expect(outcome(tree, path, data), len(data), f"writing {data!r} to {path}")
            expect(value(tree, path), wanted, f"{path} after {data!r}")
        return
    not_applicable("no zone here can be switched")


@clause(
    "rapl.write.control-type-switch",
    level="must",
    title="A RAPL control type cannot be switched: a good word is ENOSYS, a bad one EINVAL.",
    group="writes",
    source="drivers/powercap/powercap_sys.c enabled_store (no set_enable)",
    needs=("wild-writes", "content"),
    drivers=ANY_RAPL,
    pitfalls=("control-type-enabled-always-one",),
)
def write_control_type_switch(tree: Provider) -> None:
    """It has no function for it. Parse errors come first, and the file goes on reading 1."""
    for path in control_type_paths(tree):
        if path.rpartition("/")[2] in ANY_RAPL:
            for data, wanted in ((b"0", "ENOSYS"), (b"1\n", "ENOSYS"), (b"x", "EINVAL")):
                expect(outcome(tree, f"{path}/enabled", data), wanted, f"writing {data!r} to {path}/enabled")
            expect(value(tree, f"{path}/enabled"), 1, f"{path}/enabled afterwards")


@clause(
    "powercap.write.read-only",
    level="must",
    title="Writing a read-only attribute is EACCES, for root too.",
    group="writes",
    source="fs/kernfs/file.c kernfs_fop_open",
    needs=("writable", "content"),
    pitfalls=("name-newline-read-only",),
)
def write_read_only(tree: Provider) -> None:
    """The open is refused, so there is no write that could fail otherwise."""
    for zone in zones_of(tree):
        for name in ("name", "max_energy_range_uj", "constraint_0_name", "constraint_0_max_power_uw"):
            path = f"{zone.path}/{name}"
            if exists(tree, path):
                expect(outcome(tree, path, b"1\n"), "EACCES", f"writing to {path}")


@clause(
    "rapl.write.energy",
    level="must",
    title="Writing a RAPL zone's `energy_uj` is EACCES.",
    group="writes",
    source="drivers/powercap/intel_rapl_common.c zone_ops (no reset_energy_uj)",
    needs=("writable", "content"),
    drivers=ANY_RAPL,
    threads=("https://github.com/hubblo-org/scaphandre/issues/323",),
    pitfalls=("energy-root-only",),
)
def write_energy(tree: Provider) -> None:
    """Nothing resets these counters but a reset of the machine."""
    for zone in rapl_zones(tree, ANY_RAPL):
        expect(outcome(tree, f"{zone.path}/energy_uj", b"0\n"), "EACCES", f"writing 0 to {zone.path}/energy_uj")


@clause(
    "powercap.write.uevent",
    level="must",
    title="`uevent` takes the verbs of the kernel; another word is EINVAL.",
    group="writes",
    source="lib/kobject_uevent.c kobject_synth_uevent",
    needs=("wild-writes", "content"),
)
def write_uevent(tree: Provider) -> None:
    """They are add, change, remove, move, online, offline and more; the count is full. Before 5.0 any word is fine."""
    for path in devices(tree):
        for verb in (b"add", b"change\n", b"online"):
            expect(outcome(tree, f"{path}/uevent", verb), len(verb), f"writing {verb!r} to {path}/uevent")
        if since(tree, "5.0"):
            expect(outcome(tree, f"{path}/uevent", b"raplica"), "EINVAL", f"writing an unknown verb to {path}/uevent")
