# SPDX-License-Identifier: Apache-2.0
"""What the stand-in of powermetrics prints: its samples against the truth, its text and its property lists."""

import plistlib
import re
from collections.abc import Callable, Mapping
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_simulator import Machine
from raplica_simulator.macos.dates import FIRST_BOOT_NS
from raplica_simulator.macos.mac import Mac
from raplica_simulator.macos.mac_files import intel_mac, read_mac
from raplica_simulator.macos.meters import MachineMeters
from raplica_simulator.macos.options import read_options
from raplica_simulator.macos.powermetrics import show
from raplica_simulator.macos.samples import samples

INTEL, M1, M2_PRO = "macbookpro-2015", "macbook-m1", "mac-m2pro"
MACS = (INTEL, M1, M2_PRO)
POWER = re.compile(r"^(.*) Power(?: \(CPU \+ GPU \+ ANE\))?: ([0-9]+) mW$", re.MULTILINE)
ELAPSED = re.compile(r"\(([0-9]+\.[0-9]{2})ms elapsed\)")


def mac_and_machine(name: str) -> tuple[Mac, Machine]:
    found = read_mac(name)
    assert found is not None
    return found[1], Machine.from_profile(found[0])


def printed(name: str, *words: str) -> tuple[bytes, Machine]:
    """What the tool prints about a machine whose time moves as it waits, and that machine."""
    mac, machine = mac_and_machine(name)
    out: list[bytes] = []
    show(MachineMeters(machine), mac, read_options(words), FIRST_BOOT_NS, out.append)
    return b"".join(out), machine


def powers(block: str) -> Mapping[str, int]:
    return {name: int(milliwatts) for name, milliwatts in POWER.findall(block)}


# Text.


def test_an_intel_mac_prints_its_firmware_and_watts() -> None:
    out, _ = printed(INTEL, "-i", "1000", "-n", "2")
    lengths = ELAPSED.findall(out.decode())
    assert all(1000.5 <= float(length) <= 1001.5 for length in lengths)
    assert ELAPSED.sub("(1001.00ms elapsed)", out.decode()) == (
        "Machine model: MacBookPro11,4\n"
        "SMC version: 2.29f24\n"
        "EFI version: 489.0.0\n"
        "OS version: 24H23\n"
        "Boot arguments: \n"
        "Boot time: Fri Nov 10 08:43:28 2023\n"
        "\n\n\n"
        "*** Sampled system activity (Fri Nov 10 08:43:29 2023 +0000) (1001.00ms elapsed) ***\n"
        "\n\n"
        "**** Processor usage ****\n"
        "\n"
        "Intel energy model derived package power (CPUs+GT+SA): 12.40W\n"
        "\n\n"
        "*** Sampled system activity (Fri Nov 10 08:43:30 2023 +0000) (1001.00ms elapsed) ***\n"
        "\n\n"
        "**** Processor usage ****\n"
        "\n"
        "Intel energy model derived package power (CPUs+GT+SA): 12.40W\n"
        "\n"
    )


def test_apple_silicon_with_macos_12_prints_clusters_memory_and_a_package_of_them_all() -> None:
    out, _ = printed(M1, "-i", "1000", "-n", "1", "--samplers", "cpu_power")
    text = out.decode()
    assert text.startswith("Machine model: MacBookAir10,1\nOS version: 21G115\nBoot arguments: \nBoot time: ")
    assert "EFI" not in text
    names = ["E-Cluster", "P-Cluster", "ANE", "DRAM", "CPU", "GPU", "Package"]
    assert [name for name, _ in POWER.findall(text)] == names
    found = powers(text)
    assert found["CPU"] == pytest.approx(found["E-Cluster"] + found["P-Cluster"], abs=1)
    assert found["Package"] > found["CPU"] + found["GPU"] + found["ANE"] + found["DRAM"]


def test_since_macos_13_there_is_no_package_and_what_is_combined_is_the_rest_once_more() -> None:
    out, _ = printed(M2_PRO, "-i", "1000", "-n", "1", "-s", "cpu_power")
    found = powers(out.decode())
    assert list(found) == ["CPU", "GPU", "ANE", "Combined"]
    assert found["Combined"] == pytest.approx(found["CPU"] + found["GPU"] + found["ANE"], abs=2)
    assert found["ANE"] > 0


@pytest.mark.parametrize("name", [M1, M2_PRO])
def test_the_power_of_the_gpu_stands_in_two_places(name: str) -> None:
    out, _ = printed(name, "-n", "1", "--samplers", "cpu_power,gpu_power,thermal")
    text = out.decode()
    first, second = re.findall(r"^GPU Power: .*$", text, re.MULTILINE)
    assert first == second
    places = ("**** Processor usage ****", "**** GPU usage ****", "**** Thermal pressure ****")
    assert [text.index(place) for place in places] == sorted(text.index(place) for place in places)
    assert "Current pressure level: Nominal" in text


def test_samplers_that_the_machine_has_nothing_for_show_nothing() -> None:
    out, _ = printed(INTEL, "-n", "1", "-s", "gpu_power,thermal,tasks")
    assert out.decode().rstrip().endswith("ms elapsed) ***")


# Property lists.


@pytest.mark.parametrize("name", MACS)
def test_property_lists_have_a_nul_between_two_and_none_before_and_behind(name: str) -> None:
    out, _ = printed(name, "-f", "plist", "-i", "100", "-n", "3")
    documents = out.split(b"\0")
    assert len(documents) == 3
    for document in documents:
        content = plistlib.loads(document)
        assert {"elapsed_ns", "hw_model", "timestamp", "processor"} <= content.keys()
        assert content["hw_model"] == mac_and_machine(name)[0].model


def processors(name: str, *words: str) -> tuple[list[tuple[int, dict[str, float]]], Machine]:
    """The length of each sample and its ``processor``."""
    out, machine = printed(name, "-f", "plist", *words)
    contents = [plistlib.loads(document) for document in out.split(b"\0")]
    return [(content["elapsed_ns"], content["processor"]) for content in contents], machine


def test_an_intel_macs_joules_are_those_of_its_package() -> None:
    found, machine = processors(INTEL, "-i", "100", "-n", "20")
    truth_j = machine.truth_uj("package-0") / 1e6
    assert sum(processor["package_joules"] for _, processor in found) == pytest.approx(truth_j, rel=1e-5)
    assert all(processor["package_watts"] == pytest.approx(12.4, rel=1e-5) for _, processor in found)


def test_macos_12_has_energies_in_whole_millijoules_and_no_powers() -> None:
    found, machine = processors(M1, "-i", "100", "-n", "20")
    domains = {"gpu_energy": "package-0/uncore", "dram_energy": "package-0/dram"}
    for key, domain in domains.items():
        assert all(type(processor[key]) is int for _, processor in found)
        assert sum(processor[key] for _, processor in found) == machine.truth_uj(domain) // 1000
    # Two clusters are cut downward each.
    cpu_mj = sum(processor["cpu_energy"] for _, processor in found)
    assert 0 <= machine.truth_uj("package-0/core") // 1000 - cpu_mj <= 1
    package_uj = machine.truth_uj("package-0") + machine.truth_uj("package-0/dram")
    assert sum(processor["package_energy"] for _, processor in found) == package_uj // 1000
    assert not any(key.endswith("_power") for _, processor in found for key in processor)


def test_since_macos_13_powers_are_energies_over_the_time_that_went_by() -> None:
    found, _ = processors(M2_PRO, "-i", "100", "-n", "20")
    for elapsed_ns, processor in found:
        assert "package_energy" not in processor
        assert "dram_energy" not in processor
        for part in ("cpu", "gpu", "ane"):
            assert processor[f"{part}_power"] == pytest.approx(
                processor[f"{part}_energy"] / (elapsed_ns / 1e9), rel=1e-5
            )
        together = sum(processor[f"{part}_energy"] for part in ("cpu", "gpu", "ane"))
        assert processor["combined_power"] == pytest.approx(together / (elapsed_ns / 1e9), rel=1e-5)


def test_without_the_samplers_there_are_no_keys() -> None:
    out, _ = printed(M1, "-f", "plist", "-n", "1", "-s", "thermal")
    content = plistlib.loads(out)
    assert content["thermal_pressure"] == "Nominal"
    assert not {"processor", "gpu"} & content.keys()


# Both against the truth, and each other.


@pytest.mark.parametrize("name", MACS)
def test_text_and_property_lists_say_the_same(name: str) -> None:
    text = printed(name, "-i", "250", "-n", "5", "-s", "cpu_power")[0].decode()
    lists = processors(name, "-i", "250", "-n", "5")[0]
    assert ELAPSED.findall(text) == [f"{elapsed_ns / 1e6:.2f}" for elapsed_ns, _ in lists]
    for block, (elapsed_ns, processor) in zip(text.split("*** Sampled")[1:], lists, strict=True):
        if name == INTEL:
            assert f"{processor['package_watts']:.2f}W" in block
            continue
        for part in ("cpu", "gpu", "ane"):
            shown = powers(block)[part.upper()]
            assert abs(shown - processor[f"{part}_energy"] / (elapsed_ns / 1e9)) <= 0.5


@given(
    interval_ms=st.integers(1, 3000),
    watts=st.tuples(*[st.decimals(0, 60, places=3) for _ in range(4)]),
    name=st.sampled_from(MACS),
    changes=st.integers(1, 4),
)
def test_energies_are_the_truth_to_their_last_digit_however_long_samples_are(
    make_mac: Callable[[str], tuple[Mac, Machine]],
    interval_ms: int,
    watts: tuple[Fraction, ...],
    name: str,
    changes: int,
) -> None:
    mac, machine = make_mac(name)
    core, uncore, rest, dram = watts
    total = {"cpu": 0, "gpu": 0, "ane": 0, "dram": 0, "package": 0}
    for number in range(changes):
        machine.load.set(package=(core + uncore + rest) * number, core=core * number, uncore=uncore * number, dram=dram)
        for sample in samples(MachineMeters(machine), mac, interval_ms, 2):
            assert sample.elapsed_ns > interval_ms * 10**6
            for part, uj in sample.spent_uj.items():
                if part in total:
                    total[part] += uj
    cut_uj = changes * (1000 if mac.is_apple else 1) * max(1, len(mac.clusters))
    package_uj = machine.truth_uj("package-0")
    if not mac.is_apple:
        assert abs(total["package"] - package_uj) <= cut_uj
        return
    truths = {
        "cpu": machine.truth_uj("package-0/core"),
        "gpu": machine.truth_uj("package-0/uncore"),
        "dram": machine.truth_uj("package-0/dram"),
        "package": package_uj + machine.truth_uj("package-0/dram"),
    }
    for part, truth in truths.items():
        assert abs(total[part] - truth) <= cut_uj
    assert abs(total["ane"] - mac.ane_part * (package_uj - truths["cpu"] - truths["gpu"])) <= cut_uj + 1000


@pytest.fixture(scope="module")
def make_mac() -> Callable[[str], tuple[Mac, Machine]]:
    return mac_and_machine


@pytest.mark.parametrize("name", MACS)
def test_samples_are_late_by_a_few_milliseconds_and_each_time_the_same_for_a_seed(name: str) -> None:
    lengths = [elapsed_ns for elapsed_ns, _ in processors(name, "-i", "100", "-n", "50")[0]]
    assert lengths == [elapsed_ns for elapsed_ns, _ in processors(name, "-i", "100", "-n", "50")[0]]
    mac = mac_and_machine(name)[0]
    low_ns, high_ns = mac.late_ns
    assert all(low_ns <= length - 100_000_000 <= high_ns for length in lengths)
    assert len(set(lengths)) > 40


def test_a_sample_that_is_asked_for_at_once_has_no_length_and_no_power() -> None:
    found, machine = processors(M2_PRO, "-i", "0", "-n", "2")
    assert [elapsed_ns for elapsed_ns, _ in found] == [0, 0]
    assert all(processor["combined_power"] == 0 for _, processor in found)
    assert machine.clock.now_ns == 0


def test_any_intel_machine_shows_all_its_packages() -> None:
    machine = Machine.from_profile("skylake-sp-2s")
    out: list[bytes] = []
    show(MachineMeters(machine), intel_mac(machine.profile), read_options(["-n1"]), FIRST_BOOT_NS, out.append)
    watts = machine.draw_w("package-0") + machine.draw_w("package-1")
    assert f"(CPUs+GT+SA): {float(watts):.2f}W" in b"".join(out).decode()


# The command line.


def test_options_have_the_names_and_defaults_of_the_tool() -> None:
    found = read_options([])
    assert (found.interval_ms, found.count, found.plist, found.output) == (5000, None, False, None)
    assert found.samplers == {"cpu_power", "gpu_power"}
    words = ["--samplers", "cpu_power", "-n", "10", "--format", "csv", "-i", "100", "-o", "file"]
    found = read_options([*words, "-b", "1", "-a", "0", "--show-process-energy", "-A"])
    assert found.samplers == {"cpu_power"}
    assert (found.count, found.interval_ms, found.output) == (10, 100, "file")
    assert not found.plist
    assert read_options(["-n", "-1", "--handle-invalid-values"]).count is None
    assert read_options(["-s", "cpu_power,bandwidth"], 12).samplers == {"cpu_power", "bandwidth"}
    assert read_options(["-s", "all"]).samplers == {"cpu_power", "gpu_power", "thermal"}
    assert read_options(["-s", "thermal", "-s", "default", "-f", "plist"]).plist


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-i", "fast"], "'fast' is no whole number"),
        (["-i", "-5"], "give milliseconds, 0 or more"),
        (["--samplers", "cpu_power,tea"], "powermetrics: unrecognized sampler: tea\n"),
        (["--samplers", "bandwidth"], "powermetrics: unrecognized sampler: bandwidth\n"),
        (["--no-such-option"], "unrecognized arguments"),
    ],
)
def test_a_mistake_in_the_options_is_one_line_and_64(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        read_options(words)
    assert ended.value.code == 64
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1
