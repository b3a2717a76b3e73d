# SPDX-License-Identifier: Apache-2.0
"""The document of :mod:`.document` for a person: lines of plain text, the same on a terminal and in a file."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from raplica_fixtures import mac_ids
from raplica_simulator.linux.kernel import NOT_WITNESSED

__all__ = ["LEGEND", "MACS", "domains", "render_load", "render_machine", "render_machines"]

LEGEND = f"* {NOT_WITNESSED}"
"""What the star behind a kernel's version means."""
MACS = f"Macs, for raplica exec --as macos: {' '.join(mac_ids())}"
"""The machines that have no zones and no kernel of Linux."""

_MANY = 4  # so many places and values of a register are told one by one


def render_machines(summaries: Sequence[dict[str, Any]]) -> str:
    """A table of machines, one a line, without a newline at the end."""
    rows = [("machine", "cpu", "cpus", "domains", "kernels", "recorded", "title")]
    rows += [
        (
            machine["id"],
            f"{machine['cpu']['family']}:{machine['cpu']['model']}",
            str(machine["topology"]["cpus"]),
            domains(machine),
            " ".join(kernel["version"] + ("" if kernel["witnessed"] else "*") for kernel in machine["kernels"]),
            ", ".join(machine["witnessed"]) or "no",
            machine["title"],
        )
        for machine in summaries
    ]
    return "\n".join(
        [
            *_columns(rows),
            "",
            "kernels: those that drive such a machine (--kernel); recorded: those recorded on a machine like it",
            LEGEND,
            MACS,
        ]
    )


def domains(machine: dict[str, Any]) -> str:
    """The kinds of domain that a machine of `raplica machines` meters, in one line."""
    return _kinds(machine["zones"]) or "none"


def render_machine(machine: dict[str, Any]) -> str:
    """A machine on about a screen, without a newline at the end."""
    cpu = machine["cpu"]
    lines = [
        f"{machine['id']}: {machine['title']}",
        "",
        f"cpu        {cpu['name'] or 'name not said'}",
        f"           {cpu['vendor']} family {cpu['family']} model {cpu['model']} stepping {cpu['stepping']}",
        f"topology   {_topology(machine['topology'])}",
        f"kernel     Linux {_kernel(machine['kernel'])}",
        f"witnessed  {_witnessed(machine)}",
        f"source     {machine['source']}",
        f"rules      {machine['rules']}",
        f"load       {render_load(machine['load_uw'], machine['composed_control_types'])}",
        *(f"floor      {name} {_decimal(uw, 6)} W, unless a limit clamps" for name, uw in machine["floors_uw"].items()),
        "",
        "zones",
    ]
    for control_type in machine["control_types"]:
        lines += [f"  {control_type['name']}", *_zones(control_type["zones"], "    ")]
    if not machine["control_types"]:
        lines.append("  none: the driver finds nothing to meter here, class/powercap is empty")
    lines += ["", "registers: value, where, where the value comes from", *_registers(machine)]
    if machine["warnings"]:
        lines += ["", "warnings", *(f"  {warning}" for warning in machine["warnings"])]
    return "\n".join(lines)


def _topology(topology: dict[str, int]) -> str:
    return (
        f"packages {topology['packages']}, dies in each {topology['dies_per_package']}, "
        f"cores in each die {topology['cores_per_die']}, threads in each core {topology['threads_per_core']}: "
        f"{topology['cpus']} CPUs"
    )


def _kernel(kernel: dict[str, Any]) -> str:
    return f"{kernel['version']} ({kernel['release'] if kernel['witnessed'] else NOT_WITNESSED})"


def _witnessed(machine: dict[str, Any]) -> str:
    if not machine["witnesses"]:
        return "no: no recording of a real kernel on a machine like this"
    return "; ".join(f"Linux {one['kernel']} ({one['recording']}: {one['like']})" for one in machine["witnesses"])


def render_load(load_uw: dict[str, Any] | None, composed: Sequence[str] = ()) -> str:
    """The watts of a machine of which control types may be ``composed``, in one line."""
    if load_uw is None and composed:
        return f"none: what zones of {', '.join(composed)} draw stands in the profile"
    if load_uw is None:
        return "none: the counters stand still"
    everywhere = [f"{name} {_decimal(uw, 6)} W" for name, uw in load_uw.items() if uw and not isinstance(uw, list)]
    text = ", ".join(everywhere) + ", in every package"
    for name, by_package in load_uw.items():
        if isinstance(by_package, list):
            text += "".join(f"; {name} {_decimal(uw, 6)} W in package {number}" for number, uw in enumerate(by_package))
    return text


def _zones(zones: Iterable[dict[str, Any]], indent: str) -> Iterator[str]:
    for zone in zones:
        facts = [f"{indent}{zone['id']}", zone["name"]]
        if zone.get("energy_uj") is not None:
            facts.append(f"{_decimal(zone['energy_uj'], 6)} J")
        if "unit_j" in zone:
            driver = "for the driver too" if zone["unit_nj"] is None else f"the driver says {zone['unit_nj']} nJ"
            facts.append(f"a step is {zone['unit_j']} J, {driver}")
        if zone.get("max_energy_range_uj") is not None:
            facts.append(f"counts to {_decimal(zone['max_energy_range_uj'], 6)} J")
        facts.append("enabled" if zone["enabled"] else "not enabled")
        yield "  ".join(facts)
        for constraint in zone["constraints"]:
            yield f"{indent}  {_constraint(constraint, zone['errors'])}"
        yield from _zones(zone["zones"], indent + "  ")


def _constraint(constraint: dict[str, Any], errors: dict[str, str]) -> str:
    def value(what: str, unit: str) -> str:
        number = constraint[what]
        if number is None:
            return errors[f"constraint_{constraint['number']}_{what}"]
        return f"{_decimal(number, 6)} {unit}"

    facts = [f"constraint {constraint['number']} {constraint.get('name') or ''}".rstrip()]
    for what, label, unit in (
        ("power_limit_uw", "limit", "W"),
        ("time_window_us", "window", "s"),
        ("max_power_uw", "largest", "W"),
        ("min_power_uw", "smallest", "W"),
        ("max_time_window_us", "longest", "s"),
        ("min_time_window_us", "shortest", "s"),
    ):
        if what in constraint:
            facts.append(f"{label} {value(what, unit)}")
    return f"{facts[0]}: {', '.join(facts[1:])}"


def _registers(machine: dict[str, Any]) -> list[str]:
    rows = []
    for register in machine["registers"]:
        name = register["name"] or "not known on this CPU"
        values = register["values"]
        # Where each core has its own value, the first says enough.
        rows += [
            (f"  {register['address']}", name, value["raw"], _places(value["on"], values), _origin(register))
            for value in (values if len(values) <= _MANY else values[:1])
        ]
    rows += [
        (f"  {word['offset']}", word["name"] or "not known in MMIO", word["raw"], "MMIO", _origin(word))
        for word in machine["mmio"]
    ]
    rows += [
        (
            f"  {word['offset']}",
            word["name"] or "not known in TPMI",
            word["raw"],
            f"TPMI of package {word['package']}, {word['domain']}",
            _origin(word),
        )
        for word in machine["tpmi"]
    ]
    return _columns(rows) or ["  none"]


def _places(places: Sequence[str], values: Sequence[object]) -> str:
    if len(values) == 1 and len(places) > 1:
        return f"every {places[0].partition(' ')[0]}"
    if len(values) > _MANY:
        return f"{places[0]} (and {len(values) - 1} other values)"
    if len(places) > _MANY:
        return f"{places[0]} and {len(places) - 1} more"
    return ", ".join(places)


def _origin(entry: dict[str, Any]) -> str:
    if entry["provenance"] is None:
        return "not said"
    return f"{entry['provenance']}: {entry['provenance_text']}" if entry["provenance_text"] else entry["provenance"]


def _kinds(names: Iterable[str]) -> str:
    """The kinds of domain among zone names, each once, in the order in which they come."""
    return " ".join(dict.fromkeys(name.rpartition("/")[2].partition("-")[0] for name in names))


def _decimal(number: int, places: int) -> str:
    """An integer of millionths and the like as a decimal number, without zeros that say nothing."""
    sign, number = ("-", -number) if number < 0 else ("", number)
    whole, part = divmod(number, 10**places)
    return f"{sign}{whole}" + (f".{part:0{places}d}".rstrip("0") if part else "")


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines with aligned columns."""
    if not rows:
        return []
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
