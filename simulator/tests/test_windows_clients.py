# SPDX-License-Identifier: Apache-2.0
"""Windows: which of the known programs gets on with which version of the Scaphandre driver, and how the others fail."""

from collections.abc import Mapping

import pytest

from raplica_simulator import Machine
from raplica_simulator.windows.ctl_code import CtlCode
from raplica_simulator.windows.driver_clients import CLIENTS, Outcome
from raplica_simulator.windows.nt_status import BugCheck
from raplica_simulator.windows.scaphandre_driver import ScaphandreDriver
from raplica_simulator.windows.scaphandre_versions import VERSIONS
from raplica_simulator.windows.system import WindowsSystem
from raplica_simulator.windows.win32_calls import GENERIC_READ

ENERGY = 0x611
STOPS = "stops"
SILENT = "silent"  # it goes on with the zeros that it had put into its buffer

# What happens where each program meets each version under the name that it looks for: ok, the Win32 error that it is
# told, "length" where it turns down the byte count, "value" where it turns down the value, or the end of the machine.
ELEVEN = dict.fromkeys(VERSIONS, "ok")
FOUR_ONLY = {"v2-4": "ok", **{tag: 1 for tag in VERSIONS if tag.startswith(("v2-8", "v3"))}}
EIGHT = {"v2-4": 1, **{tag: "ok" for tag in VERSIONS if tag.startswith(("v2-8", "v3"))}}
CRASH = {"v0-ones": STOPS, "v0-unit": STOPS, "v1": STOPS}
WANTED: Mapping[str, Mapping[str, object]] = {
    "agent-2021-11": {
        "v0-none": "length",
        "v0-ones": "ones",
        "v0-unit": "unit",
        "v1": "ok",
        **{tag: 1 for tag in VERSIONS if tag.startswith(("v2", "v3"))},
    },
    "agent-2021-12": {"v0-none": "length", **CRASH, **FOUR_ONLY},
    "agent-2022": {"v0-none": "length", **CRASH, **EIGHT},
    "scaphandre": {"v0-none": SILENT, **CRASH, **EIGHT},
    "joularjx": {"v0-none": SILENT, **CRASH, **EIGHT},
    "joularcore": {"v0-none": "length", **CRASH, **EIGHT},
    "green-metrics-tool": {"v0-none": "length", **CRASH, **EIGHT},
}


@pytest.fixture(scope="module")
def machine() -> Machine:
    return Machine.from_profile("kabylake")


def met(machine: Machine, client: str, version: str, register: int = ENERGY) -> object:
    """What happens, in a word."""
    system = WindowsSystem.with_driver(machine, ScaphandreDriver(version, device="Here"))
    try:
        outcome = CLIENTS[client].read_energy(system.process(), register, path=r"\\.\Here")
    except BugCheck:
        assert system.crashed is not None
        return STOPS
    assert [device.open_handles for device in system.kernel.devices] == [0]
    if outcome.error:
        assert outcome.stage == "request"
        assert outcome.taken == (0 if CLIENTS[client].failed_is_zero else None)
        return outcome.error
    named: dict[int | None, str] = {
        machine.msr.read(0, register): "ok",
        machine.msr.read(0, 0x606): "unit",
        0x0101010101010101: "ones",
        0: SILENT,
    }
    return outcome.stage or named[outcome.taken]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("client", CLIENTS)
def test_each_program_meets_each_version_as_the_matrix_says(machine: Machine, client: str, version: str) -> None:
    assert met(machine, client, version) == WANTED[client][version]


def test_the_matrix_is_whole() -> None:
    assert set(WANTED) == set(CLIENTS)
    assert all(set(row) == set(VERSIONS) for row in WANTED.values())


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("client", CLIENTS)
def test_a_program_finds_a_driver_only_under_the_name_that_it_looks_for(
    machine: Machine, client: str, version: str
) -> None:
    if CLIENTS[client].path.endswith(VERSIONS[version].device):
        return
    process = WindowsSystem.with_driver(machine, ScaphandreDriver(version)).process()
    outcome = CLIENTS[client].read_energy(process, ENERGY)
    assert outcome == Outcome("open", 2, None, 0 if CLIENTS[client].failed_is_zero else None)
    assert not outcome.ok


@pytest.mark.parametrize("client", sorted(set(CLIENTS) - {"agent-2021-11", "agent-2021-12"}))
@pytest.mark.parametrize("profile", ["kabylake", "zen4"])
def test_todays_driver_serves_every_program_since_2022_on_both_vendors(client: str, profile: str) -> None:
    machine = Machine.from_profile(profile)
    register = 0x611 if profile == "kabylake" else 0xC001029B
    process = WindowsSystem.with_driver(machine, ScaphandreDriver()).process(administrator=False)
    for _ in range(2):
        outcome = CLIENTS[client].read_energy(process, register)
        assert outcome.ok
        assert outcome.taken == machine.msr.read(0, register)
        machine.clock.advance(seconds=5)


def test_seven_programs_send_seven_control_codes_for_the_package_and_for_todays_driver_they_are_all_one() -> None:
    codes = [client.code(ENERGY) for client in CLIENTS.values()]
    assert [code.value for code in codes if code is not None] == [
        0x00226FB6, 0x0022EFB4, 0x0022EFB4, 0x0022D844, 0x0022D818, 0x0022D844, 0x00222000,
    ]  # fmt: skip


def test_scaphandre_reads_the_unit_by_a_code_of_its_own() -> None:
    assert CLIENTS["scaphandre"].code(0x606) == CtlCode.of(0x0022D818)


def test_the_agent_has_codes_for_three_registers_and_none_for_others(machine: Machine) -> None:
    process = WindowsSystem.with_driver(machine, ScaphandreDriver("v1")).process()
    assert [CLIENTS["agent-2021-11"].read_energy(process, register).value for register in (0x606, 0x610)] == [
        machine.msr.read(0, 0x606),
        machine.msr.read(0, 0x610),
    ]
    with pytest.raises(ValueError, match="agent-2021-11 has no control code for register 0x619"):
        CLIENTS["agent-2021-11"].read_energy(process, 0x619)


def test_a_code_that_needs_no_rights_passes_on_a_handle_that_has_half_of_them(machine: Machine) -> None:
    process = WindowsSystem.with_driver(machine, ScaphandreDriver()).process()
    handle = process.create_file(r"\\.\ScaphandreDriver", GENERIC_READ)
    errors = {}
    for name, client in CLIENTS.items():
        code = client.code(ENERGY)
        assert code is not None
        errors[name] = process.device_io_control(handle, code.value, client.request(ENERGY, 0), 8).error
    assert errors.pop("green-metrics-tool") == 0
    assert errors.pop("agent-2021-11") == 1  # it needs to read only, but sends no register
    assert set(errors.values()) == {5}


def test_scaphandre_takes_0_for_a_read_that_failed_and_joularcore_stops(machine: Machine) -> None:
    process = WindowsSystem.with_driver(machine, ScaphandreDriver()).process()
    absent = 0x61C
    assert CLIENTS["scaphandre"].read_energy(process, absent) == Outcome("request", 1117, None, 0)
    assert CLIENTS["joularcore"].read_energy(process, absent) == Outcome("request", 1117, None, None)


def test_joularcore_takes_0_for_a_register_that_is_not_there(machine: Machine) -> None:
    process = WindowsSystem.with_driver(machine, ScaphandreDriver()).process()
    assert machine.msr.read(0, 0x613) == 0
    assert CLIENTS["joularcore"].read_energy(process, 0x613) == Outcome("value", 0, 0, None)
    assert CLIENTS["green-metrics-tool"].read_energy(process, 0x613) == Outcome(None, 0, 0, 0)


def test_only_scaphandre_names_a_cpu() -> None:
    named = {name for name, client in CLIENTS.items() if client.request(ENERGY, 3) != client.request(ENERGY, 0)}
    assert named == {"scaphandre"}
