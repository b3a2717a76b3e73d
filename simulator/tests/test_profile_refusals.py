# SPDX-License-Identifier: Apache-2.0
"""A wrong profile is refused in one line that names the file, the key and what would be right."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raplica_simulator.profile.profile import ProfileError, load_profile

CPU = '[cpu]\nvendor = "GenuineIntel"\nfamily = 6\nmodel = 85\n'
TOPOLOGY = "[topology]\npackages = 2\ncores_per_die = 2\n"
HEAD = CPU + TOPOLOGY


def refusal(path: Path, content: str | bytes) -> str:
    """What loading says after the file's name; always one line that a terminal can show."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(ProfileError) as caught:
        load_profile(path)
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 500
    assert message.startswith(f"{path}: ")
    return message.removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        # CPU and topology
        (TOPOLOGY, "table [cpu] is missing: every profile needs one"),
        (CPU, "table [topology] is missing: every profile needs one"),
        (
            HEAD.replace("GenuineIntel", "GenuinIntel"),
            "is not one of GenuineIntel, AuthenticAMD, HygonGenuine; did you mean GenuineIntel?",
        ),
        (HEAD.replace('"GenuineIntel"', "6"), "cpu.vendor: 6 is not one of GenuineIntel"),
        (HEAD.replace("family = 6\n", ""), "cpu: family is missing: every [cpu] needs it"),
        (HEAD.replace("family = 6", "family = 1000"), "cpu.family: 1000 is out of range: 0 to 270"),
        (HEAD.replace("family = 6", "family = -6"), "cpu.family: -6 is out of range: 0 to 270"),
        (
            HEAD.replace("family = 6", 'family = "6"'),
            "cpu.family: must be a whole number from 0 to 270, not the text 6",
        ),
        (HEAD.replace("family = 6", "family = 6.0"), "cpu.family: must be a whole number from 0 to 270"),
        (HEAD.replace("family = 6", "family = true"), "cpu.family: must be a whole number from 0 to 270, not true or"),
        (HEAD.replace("model = 85", 'model = 85\nname = "a\\nb"'), "cpu.name: must be text on one line, not the text"),
        (HEAD.replace("model = 85", "model = 85\nflags = 'pts'"), "cpu.flags: must be an array, not the text pts"),
        (HEAD.replace("model = 85", "model = 85\nflags = [1]"), "cpu.flags[0]: must be text on one line"),
        (HEAD.replace("model", "modl"), "cpu.modl: unknown key; did you mean model?"),
        ("cpu = 5\n" + TOPOLOGY, "cpu: must be a table [cpu], not the whole number 5"),
        (HEAD.replace("packages = 2", "packages = 0"), "topology.packages: 0 is out of range: 1 to 4096"),
        (HEAD.replace("packages = 2", "packages = 1000000000"), "topology.packages: 1000000000 is out of range"),
        (HEAD.replace("packages = 2", "packages = 4096\ndies_per_package = 2"), "topology: 8192 dies are too many"),
        (HEAD.replace("packages = 2", "packages = 4096\nthreads_per_core = 8"), "topology: 65536 CPUs are too many"),
        (
            HEAD.replace("cores_per_die", "cors_per_die"),
            "topology.cors_per_die: unknown key; did you mean cores_per_die?",
        ),
        # the file's own keys
        (f"titel = 'x'\n{HEAD}", "titel: unknown key; did you mean title?"),
        (f"{HEAD}[register]\n", "register: unknown key; did you mean registers?"),
        (f"rules = 'silicone'\n{HEAD}", "rules: silicone is not one of silicon, table; did you mean silicon?"),
        (f"title = 5\n{HEAD}", "title: must be text on one line, not the whole number 5"),
        # registers
        (f"{HEAD}[registers]\n0x611 = -1\n", "registers.0x611: value -1 is out of range: 0 to 0xFFFFFFFFFFFFFFFF"),
        (
            f"{HEAD}[registers]\n0x611 = 0x10000000000000000\n",
            "registers.0x611: value 18446744073709551616 is out of range",
        ),
        (f"{HEAD}[registers]\n0x611 = '0x10000000000000000'\n", "registers.0x611: must be 0 to 0xFFFFFFFFFFFFFFFF"),
        (f"{HEAD}[registers]\n0x611 = '1G'\n", 'registers.0x611: must be 0 to 0xFFFFFFFFFFFFFFFF, as text "0x..."'),
        (f"{HEAD}[registers]\n0x611 = 1.0\n", "registers.0x611: must be a register value"),
        (f"{HEAD}[registers]\n0x611 = true\n", "registers.0x611: must be a register value"),
        (
            f"{HEAD}[registers]\n0x100000000 = 1\n",
            "registers.0x100000000: register address out of range: 0x0 to 0xFFFFFFFF",
        ),
        (f"{HEAD}[registers]\nMSR = 1\n", "registers.MSR: is no register address: write it as 0x611 or 1553"),
        (
            f"{HEAD}[registers.pakage.1]\n",
            "registers.pakage: is no register address: write it as 0x611 or 1553; did you mean package?",
        ),
        (f"{HEAD}[registers]\n01553 = 1\n", "registers.01553: is no register address"),
        (
            f"{HEAD}[registers]\n0x611 = 1\n0x0611 = 1\n",
            "registers.0x0611: duplicate of 0x611: both are register 0x611",
        ),
        (f"{HEAD}[registers]\n0x611 = 1\n1553 = 1\n", "registers.1553: duplicate of 0x611: both are register 0x611"),
        (f"{HEAD}[registers]\n0x611 = 1\n0x611 = 1\n", "is not TOML: Cannot overwrite a value"),
        (f"{HEAD}[registers.package.2]\n", "registers.package.2: there is no package 2: [topology] has package 0 to 1"),
        (f"{HEAD}[registers.package.x]\n", "registers.package.x: is no package: write P, in quotes where it has dots"),
        (f"{HEAD}[registers.die.'0.1']\n", 'registers.die."0.1": there is no die 1: [topology] has die 0 to 0'),
        (
            f"{HEAD}[registers.die.0.0]\n",
            'registers.die.0: is no die: write P.D, in quotes where it has dots, such as die."0.0"',
        ),
        (f"{HEAD}[registers.core.'0.0.2']\n", 'registers.core."0.0.2": there is no core 2: [topology] has core 0 to 1'),
        (
            f"{HEAD}[registers.core.'0.0.1']\n0x611 = 1\n",
            'registers.core."0.0.1".0x611: is one register for the whole package',
        ),
        (f"{HEAD}[registers]\npackage = 5\n", "registers.package: must be a table [registers.package]"),
        (f"{HEAD}[registers]\n0x611 = {'9' * 5000}\n", "is not TOML: Exceeds the limit"),
        (f"{HEAD}[load]\npackage = 1e-9999999999999999999\n", "is not TOML: '1e-9999999999999999999' is no number"),
        (
            f"{HEAD}[registers]\n0x611 = 0x{'F' * 5000}\n",
            "registers.0x611: value a number of thousands of digits is out",
        ),
        (f"floor = 5\n{HEAD}", "floor: must be a table [floor], not the whole number 5"),
        (f"{HEAD}[floor]\ncore = 5\n", "floor.core: unknown key (known here: package, dram)"),
        (f"{HEAD}[floor]\npackage = -5\n", "floor.package: -5 W is negative"),
        (f"{HEAD}[floor]\ndram = 0.0000001\n", "floor.dram: dram is 1E-7 W, finer than a microwatt"),
        # load
        (f"{HEAD}[load]\npackage = -1\n", "load.package: -1 W is negative: watts are 0 or more"),
        (f"{HEAD}[load]\npackage = -0.5\n", "load.package: -0.5 W is negative"),
        (f"{HEAD}[load]\npackage = nan\n", "load.package: NaN W is not finite"),
        (f"{HEAD}[load]\npackage = inf\n", "load.package: Infinity W is not finite"),
        (f"{HEAD}[load]\npackage = 1e999999999\n", "load.package: 1E+999999999 W is out of range"),
        (f"{HEAD}[load]\npackage = 1e-999999999\n", "load.package: 1E-999999999 W is out of range"),
        (f"{HEAD}[load]\npackage = 1000001\n", "load.package: 1000001 W is out of range: 0 to 1000000"),
        (f"{HEAD}[load]\npackage = 0.0000001\n", "load: package is"),
        (f"{HEAD}[load]\npackage = '80'\n", "load.package: must be a number of watts such as 80.0, not the text 80"),
        (f"{HEAD}[load]\npakage = 80\n", "load.pakage: unknown key; did you mean package?"),
        (f"{HEAD}[load]\npackage = 10\ncore = 8\nuncore = 3\n", "load: core 8 W and uncore 3 W exceed package 10 W"),
        (f"{HEAD}[load]\npackage = 10\ndram = 2\npsys = 11\n", "load: psys 11 W is below package 10 W and dram 2 W"),
        (f"{HEAD}[load]\npackage = 10\ncore.'0.0.9' = 1\n", 'load.core."0.0.9": there is no core 9'),
        (f"{HEAD}[load]\npackage = 10\ncore.'0.0.0' = 11\n", "load: core 11 W and uncore 0 W exceed package 10 W"),
        (f"{HEAD}[load.core.'0.0.0']\nwatt = 1\n", 'load.core."0.0.0".watt: unknown key; did you mean watts?'),
        (f"{HEAD}[load.core.'0.0.0']\n", 'load.core."0.0.0": watts is missing'),
        # the optional tables
        (f"{HEAD}[provenance]\n0x611 = 'composed'\n", "provenance.0x611: there is no such register in [registers]"),
        (
            f"{HEAD}[registers]\n1 = 1\n[provenance]\n1 = 'seen'\n",
            "provenance.1: must begin with one of observed, documented",
        ),
        (f"{HEAD}[registers]\n1 = 1\n[provenance]\n1 = 'composed'\n0x1 = 'composed'\n", "provenance.0x1: duplicate"),
        (
            f"{HEAD}[[witness]]\nkernel = '6'\nrecording = 'x'\nlike = 'y'\n",
            "witness[0].kernel: must be a kernel version",
        ),
        (f"{HEAD}[[witness]]\nkernel = '6.1'\n", "witness[0]: recording is missing"),
        (f"{HEAD}[witness]\n", "witness: must be an array of tables [[witness]], not a table"),
        (f"{HEAD}[units]\ndram = 0\n", "units.dram: 0 J is out of range"),
        (f"{HEAD}[units]\ndram = '1/0'\n", "units.dram: must be joules per step"),
        (f"{HEAD}[units]\ndram = '1/00'\n", "units.dram: divides by 0"),
        (f"{HEAD}[units]\ndram = -1\n", "units.dram: must be joules per step"),
        (f"{HEAD}[units]\ndrma = 1\n", "units.drma: unknown key; did you mean dram?"),
        (f"{HEAD}[mmio]\n0x5939 = 1\n", "mmio.0x5939: registers stand at multiples of 4"),
        (f"{HEAD}[mmio]\n0x100000 = 1\n", "mmio.0x100000: register address out of range: 0x0 to 0xFFFFF"),
        (f"{HEAD}[tpmi.x.package]\n", "tpmi.x: must be a whole number"),
        (f"{HEAD}[tpmi.0.pakage]\n", "tpmi.0.pakage: unknown key; did you mean package?"),
        (f"{HEAD}[tpmi.0.package]\n0x0C = 1\n", "tpmi.0.package.0xC: TPMI registers stand at multiples of 8"),
        (
            f"{HEAD}[[faults.register]]\nregister = 0x611\non = 'read'\n",
            "faults.register[0].register: there is no register 0x611",
        ),
        (f"{HEAD}[registers]\n1 = 1\n[[faults.register]]\nregister = 1\n", "faults.register[0]: does nothing"),
        (
            f"{HEAD}[registers]\n1 = 1\n[[faults.register]]\nregister = 1\nwrite_mask = 1\n",
            'faults.register[0]: write_mask and ignore_when_locked belong to rules = "table"',
        ),
        (
            f"{HEAD}[registers]\n1 = 1\n[[faults.register]]\nregister = 1\non = 'read'\nerrno = 'EOI'\n",
            "faults.register[0].errno: EOI is not one of the 50 known ones; did you mean EIO?",
        ),
        (
            f"{HEAD}[registers]\n1 = 1\n[[faults.register]]\nregister = 1\non = 'read'\npackage = 2\n",
            "faults.register[0].package: 2 is out of range: 0 to 1",
        ),
        (
            f"{HEAD}[[faults.sysfs]]\npath = '/x'\non = 'read'\nerrno = 'EIO'\n",
            "faults.sysfs[0].path: must be a path below /sys",
        ),
        (f"{HEAD}[[faults.sysfs]]\npath = 'x'\non = 'rd'\nerrno = 'EIO'\n", "faults.sysfs[0].on: rd is not one of"),
        (
            f"{HEAD}[[control_type]]\nname = 'a'\n[[control_type]]\nname = 'a'\n",
            "control_type[1].name: 'a' is empty or taken",
        ),
        (
            f"{HEAD}[[control_type]]\nname = 'a'\nzone = [{{name = 'z'}}]\n",
            "control_type[0].zone[0]: needs energy_uj or",
        ),
        (
            f"{HEAD}[[control_type]]\nname = 'a'\nzone = [{{name = 'z', power_uw = -1}}]\n",
            "control_type[0].zone[0].power_uw: -1 is out of range",
        ),
        (
            f"{HEAD}[[control_type]]\nname = 'a'\nzone = [{{name = 'z', power_uw = 1, constraint = [{'{},' * 11}]}}]\n",
            "control_type[0].zone[0]: 11 constraints are too many: a zone has at most 10",
        ),
        (f"{HEAD}[[control_type]]\nname = 'a'\nenabled = 1\n", "control_type[0].enabled: must be true or false"),
        # no TOML
        ("= 5", "is not TOML: "),
        (b"\xff\xfe", "is not TOML: 'utf-8' codec"),
        ("a = " + "[" * 100_000, "nested"),
    ],
)
def test_a_wrong_profile_is_refused_in_one_line(tmp_path: Path, text: str | bytes, says: str) -> None:
    assert says in refusal(tmp_path / "wrong.toml", text)


def words(count: int) -> str:
    """Lines of a register table whose addresses nobody knows."""
    return "".join(f"{address} = 1\n" for address in range(0x10000, 0x10000 + count))


def test_a_table_of_too_many_registers_is_refused(tmp_path: Path) -> None:
    says = "4097 registers are too many: at most 4096 addresses in one table"
    path = tmp_path / "many.toml"
    assert refusal(path, f"{HEAD}[registers]\n{words(4097)}") == f"registers: {says}"
    assert refusal(path, f"{HEAD}[firmware]\n{words(4096)}[firmware.package.1]\n1 = 1\n") == f"firmware: {says}"


@pytest.mark.parametrize(("vendor", "per_core"), [("GenuineIntel", 0), ("AuthenticAMD", 1)])
def test_registers_that_are_too_many_for_all_dies_together_are_refused(
    tmp_path: Path, vendor: str, per_core: int
) -> None:
    # Of two cores each: the register that each core has for itself counts twice.
    head = HEAD.replace("packages = 2", "packages = 4000").replace("GenuineIntel", vendor).replace("= 6\n", "= 25\n")
    table = f"[registers]\n{words(500 - per_core)}[registers.package.3]\n0xC001029A = 1\n"
    count = 501 - per_core
    assert refusal(tmp_path / "large.toml", head + table) == (
        f"registers: {count} registers on 4000 dies make 2004000 values, which are too many: "
        "at most 2000000, so have fewer of either"
    )


def test_too_many_faults_are_refused(tmp_path: Path) -> None:
    register = "[[faults.register]]\nregister = 1\non = 'read'\n"
    path = "[[faults.sysfs]]\npath = 'x'\non = 'read'\nerrno = 'EIO'\n"
    text = f"{HEAD}[registers]\n1 = 1\n{register * 5000}{path * 5001}"
    says = "faults: 10001 faults are too many: at most 10000, registers and paths together"
    assert refusal(tmp_path / "many.toml", text) == says


def test_a_file_that_is_missing_or_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"missing\.toml: cannot be read: No such file or directory"):
        load_profile(tmp_path / "missing.toml")
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(ProfileError, match=r"folder\.toml: cannot be read: Is a directory"):
        load_profile(str(tmp_path / "folder.toml"))
    with pytest.raises(ProfileError, match=r"missing\.json: cannot be read: No such file or directory"):
        load_profile(tmp_path / "missing.json")


def test_a_file_without_end_is_refused(tmp_path: Path) -> None:
    assert "is larger than" in refusal(tmp_path / "large.toml", b"#" * (4 * 2**20 + 1))


def test_a_name_with_a_zero_byte_is_refused() -> None:
    with pytest.raises(ProfileError, match="cannot be read: embedded null"):
        load_profile("a\0b.toml")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("skylake", "skylake: unknown machine; did you mean skylake-sp-2s?"),
        ("kabylaek", "kabylaek: unknown machine; did you mean kabylake"),
        ("univac", "univac: unknown machine; the built-in ones are sandybridge, haswell-ep-2s,"),
        ("", ": unknown machine; the built-in ones are"),
        ("a\nb", "'a\\nb': unknown machine;"),
        ("folder/machine.yaml", "folder/machine.yaml: is no profile (.toml) and no recording"),
    ],
)
def test_a_name_that_is_no_machine_is_refused_with_the_nearest_ones(name: str, says: str) -> None:
    with pytest.raises(ProfileError) as caught:
        load_profile(name)
    assert str(caught.value).startswith(says)
    assert str(caught.value).isprintable()


def test_a_recording_that_is_none_is_refused_with_its_file(tmp_path: Path) -> None:
    path = tmp_path / "wrong.json"
    path.write_text('{"format": 2}')
    with pytest.raises(ProfileError, match=r"wrong\.json: format: must be 1, not 2"):
        load_profile(path)


VALUES = st.sampled_from(
    ("0", "-1", "1.5", "nan", '""', '"x"', '"0x1"', "true", "[]", "[1]", "[[]]", "{}", '{"0.0" = 1}', "{watts = 1}")
)
KEYS = st.sampled_from(
    (
        *("title", "source", "rules", "cpu", "topology", "registers", "load", "provenance", "witness", "units", "mmio"),
        *("tpmi", "firmware", "faults", "control_type", "cpu.name", "cpu.flags", "topology.threads_per_core"),
        *("registers.0x611", "registers.package", "registers.die", 'registers.core."0.0.0"', "load.core", "load.psys"),
        *(
            "provenance.mmio",
            "units.dram",
            "mmio.0x5938",
            "tpmi.0",
            "tpmi.0.package",
            "faults.register",
            "faults.sysfs",
        ),
        *("firmware.package", "control_type.zone", "load.core.'0.0.0'", "registers.die.'0.0'"),
    )
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(st.tuples(KEYS, VALUES), max_size=4))
def test_any_value_at_any_key_is_read_or_refused_but_never_crashes(
    tmp_path: Path, lines: list[tuple[str, str]]
) -> None:
    path = tmp_path / "any.toml"
    body = "".join(f"{key} = {value}\n" for key, value in lines)
    path.write_text("cpu.vendor = 'GenuineIntel'\ncpu.family = 6\ncpu.model = 85\ntopology.packages = 1\n" + body)
    message = ""
    try:
        load_profile(path)
    except ProfileError as error:
        message = str(error)
    assert message == "" or (message.isprintable() and message.startswith(f"{path}: "))
