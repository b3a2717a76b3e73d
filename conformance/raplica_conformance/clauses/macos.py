# SPDX-License-Identifier: Apache-2.0
"""What programs rely on that read macOS's powermetrics: its refusal, its text, its property lists.

Judged on any program that is given for one: the real tool of a Mac, or a stand-in.  No clause knows the truth; each
holds what is printed against itself.
"""

import re
from datetime import datetime

from raplica_conformance.clause import clause, expect, not_applicable
from raplica_conformance.clauses._powermetrics import (
    COUNT,
    INTERVAL_MS,
    KIND,
    SEPARATOR,
    Powermetrics,
    lists,
    printed,
    text,
)

_M1 = "output of a MacBookAir10,1 with 21G115 (mlco2/codecarbon tests/test_data/mock_powermetrics_log.txt)"
_INTEL = "output of a MacBookPro11,4 with 24H23"
_M3 = "output of a Mac15,12 with 24F74"
_READERS = "what its readers do (green-coding-solutions/green-metrics-tool metric_providers/powermetrics)"
_HEADER = ("Machine model: ", "OS version: ", "Boot arguments: ", "Boot time: ")
_PARTS = ("cpu", "gpu", "ane", "dram", "package")


@clause(
    "macos.refusal.superuser",
    kind=KIND,
    level="must",
    title="Who is not root gets one line on standard output, and status 1.",
    group="macos",
    source=_READERS,
    needs=("nobody",),
)
def refusal_superuser(program: Powermetrics) -> None:
    """Readers look for the words on standard output, where samples would be."""
    done = program.run("-n", "1", "-i", "1")
    expect(done.status, 1, "the exit status for who is not root")
    expect(done.out, b"powermetrics must be invoked as the superuser\n", "standard output for who is not root")


@clause(
    "macos.text.header",
    kind=KIND,
    level="must",
    title="A text begins with model, build, boot arguments and boot time, with SMC and EFI versions on an Intel Mac.",
    group="macos",
    source=f"{_M1}; {_INTEL}",
    needs=("content",),
    threads=("https://github.com/joular/joularjx/issues/54",),
)
def text_header(program: Powermetrics) -> None:
    """JoularJX takes a Mac for an Intel one where "EFI version" is among the first six lines."""
    header, samples = text(program)
    lines = [line for line in header.splitlines() if line]
    is_intel = any(name == "" for sample in samples for name, _ in sample.powers)
    firmware = ("SMC version: ", "EFI version: ") if is_intel else ()
    wanted = [_HEADER[0], *firmware, *_HEADER[1:]]
    found = [next((word for word in wanted if f"{line} ".startswith(word)), line) for line in lines]
    expect(found, wanted, "the lines before the first sample")


@clause(
    "macos.text.samples",
    kind=KIND,
    level="must",
    title="A text has as many samples as were asked for, each with a figure of power.",
    group="macos",
    source=f"{_M1}; powermetrics(1) --sample-count",
    needs=("content",),
)
def text_samples(program: Powermetrics) -> None:
    """A sample begins with its date and its length."""
    _, samples = text(program)
    expect(len(samples), COUNT, "samples in the text")
    expect([bool(sample.powers) for sample in samples], [True] * COUNT, "whether each has a figure of power")


@clause(
    "macos.text.units",
    kind=KIND,
    level="must",
    title="Powers are whole milliwatts; the one of an Intel Mac is watts with two decimals and no blank before the W.",
    group="macos",
    source=f"{_M1}; {_INTEL}",
    needs=("content",),
    threads=("https://github.com/joular/joularjx/issues/54",),
)
def text_units(program: Powermetrics) -> None:
    """A reader that takes one for the other is wrong by a thousand."""
    _, samples = text(program)
    for sample in samples:
        for name, figure in sample.powers:
            shape = r"[0-9]+ mW" if name else r"[0-9]+\.[0-9]{2}W"
            expect(bool(re.fullmatch(shape, figure)), True, f"whether {name or 'the package'}: {figure} is a power")


@clause(
    "macos.text.clusters",
    kind=KIND,
    level="should",
    title="Where clusters have powers they add up to the CPU's.",
    group="macos",
    source=_M1,
    needs=("content",),
)
def text_clusters(program: Powermetrics) -> None:
    """So who adds up all lines counts the CPU twice. Each figure is rounded by itself."""
    _, samples = text(program)
    for sample in samples:
        found = sample.milliwatts()
        clusters = [milliwatts for name, milliwatts in found.items() if name.endswith("-Cluster")]
        if clusters and "CPU" in found:
            difference = abs(sum(clusters) - found["CPU"])
            expect(difference <= (len(clusters) + 1) / 2, True, f"whether {clusters} mW are {found['CPU']} mW together")


@clause(
    "macos.text.combined",
    kind=KIND,
    level="must",
    title="The combined power is that of CPU, GPU and neural engine together.",
    group="macos",
    source=_M3,
    needs=("content",),
    threads=("https://github.com/joular/joularjx/issues/51",),
)
def text_combined(program: Powermetrics) -> None:
    """It is no fourth part. Each figure is rounded by itself."""
    _, samples = text(program)
    for sample in samples:
        found = sample.milliwatts()
        if "Combined" in found:
            parts = [found.get(name, 0) for name in ("CPU", "GPU", "ANE")]
            expect(
                abs(sum(parts) - found["Combined"]) <= 2,
                True,
                f"whether {parts} mW are {found['Combined']} mW together",
            )


@clause(
    "macos.text.gpu-twice",
    kind=KIND,
    level="should",
    title="With the sampler gpu_power the GPU's power stands in a sample twice, and is the same.",
    group="macos",
    source=_M3,
    needs=("content",),
)
def text_gpu_twice(program: Powermetrics) -> None:
    """A reader that adds up what has the same name counts it twice."""
    _, samples = text(program, "cpu_power,gpu_power")
    for sample in samples:
        found = [figure for name, figure in sample.powers if name == "GPU"]
        if found:
            expect(found, [found[0]] * 2, "the figures of the GPU's power in one sample")


@clause(
    "macos.elapsed.not-shorter",
    kind=KIND,
    level="must",
    title="No sample is shorter than the interval that was asked for.",
    group="macos",
    source=f"{_M1}; powermetrics(1) --sample-rate",
    needs=("content",),
)
def elapsed_not_shorter(program: Powermetrics) -> None:
    """They are longer, so a reader that multiplies by the interval it asked for reports too little."""
    for sample in text(program)[1]:
        expect(sample.elapsed_ms >= INTERVAL_MS, True, f"whether {sample.elapsed_ms} ms are {INTERVAL_MS} ms at least")
    for content in lists(program):
        elapsed_ns = content.get("elapsed_ns")
        if isinstance(elapsed_ns, int):
            expect(elapsed_ns >= INTERVAL_MS * 10**6, True, f"whether {elapsed_ns} ns are {INTERVAL_MS} ms at least")


@clause(
    "macos.plist.separator",
    kind=KIND,
    level="must",
    title="Property lists have one NUL between two, none before the first and none behind the last.",
    group="macos",
    source=_READERS,
    needs=("content",),
    threads=("https://github.com/green-coding-solutions/green-metrics-tool/issues/286",),
)
def plist_separator(program: Powermetrics) -> None:
    """The output as a whole is no property list."""
    documents = printed(program, "plist").split(SEPARATOR)
    expect(
        [bool(document.strip()) for document in documents], [True] * COUNT, "whether there is something between NULs"
    )


@clause(
    "macos.plist.keys",
    kind=KIND,
    level="must",
    title="A property list has its length in whole nanoseconds, a date and the processor.",
    group="macos",
    source=_READERS,
    needs=("content",),
)
def plist_keys(program: Powermetrics) -> None:
    """Readers add up the lengths from the first date on."""
    for content in lists(program):
        expect(type(content.get("elapsed_ns")), int, "the type of elapsed_ns")
        expect(type(content.get("timestamp")), datetime, "the type of timestamp")
        expect(type(content.get("processor")), dict, "the type of processor")


@clause(
    "macos.plist.energies",
    kind=KIND,
    level="must",
    title="Energies are whole millijoules, and a power is milliwatts: the energy over the length.",
    group="macos",
    source="two published outputs of macOS 13 and later; the keys of Intel are from memory",
    needs=("content",),
    threads=("https://github.com/tlkh/asitop/pull/44", "https://github.com/exelban/stats/pull/3018"),
)
def plist_energies(program: Powermetrics) -> None:
    """An energy is that of the sample and no counter. Intel has joules and watts instead."""
    for content in lists(program):
        processor, elapsed_ns = content.get("processor"), content.get("elapsed_ns")
        if not isinstance(processor, dict) or not isinstance(elapsed_ns, int):
            not_applicable("there is no length or no processor, which macos.plist.keys judges")
        for part in _PARTS:
            energy, power = processor.get(f"{part}_energy"), processor.get(f"{part}_power")
            if energy is not None:
                expect(type(energy), int, f"the type of {part}_energy")
            if energy is not None and power is not None:
                same = abs(power * elapsed_ns / 10**9 - energy) <= 1
                expect(same, True, f"whether {power} mW for {elapsed_ns} ns are {energy} mJ")
        joules, watts = processor.get("package_joules"), processor.get("package_watts")
        if joules is not None and watts is not None:
            same = abs(watts * elapsed_ns / 10**9 - joules) <= 1e-3 * max(joules, 1)
            expect(same, True, f"whether {watts} W for {elapsed_ns} ns are {joules} J")


@clause(
    "macos.formats.agree",
    kind=KIND,
    level="should",
    title="Text and property lists name the same parts of the processor.",
    group="macos",
    source=f"{_M1}; {_M3}; for property lists of macOS 12 what read them (tlkh/asitop); for Intel from memory",
    needs=("content",),
    threads=("https://github.com/tlkh/asitop/issues/51",),
)
def formats_agree(program: Powermetrics) -> None:
    """So a reader may take either."""
    named = {"": "package", **{part.upper(): part for part in _PARTS}, "Package": "package"}
    in_text = {named[name] for sample in text(program)[1] for name, _ in sample.powers if name in named}
    in_lists = set()
    for content in lists(program):
        keys = content.get("processor", {})
        in_lists |= {
            part for part in _PARTS if {f"{part}_{what}" for what in ("energy", "power", "joules")} & set(keys)
        }
    expect(sorted(in_text), sorted(in_lists), "the parts in the text, against those in property lists")


@clause(
    "macos.options.output-file",
    kind=KIND,
    level="must",
    title="With -o all goes to the file and nothing to standard output.",
    group="macos",
    source="powermetrics(1) --output-file; mlco2/codecarbon codecarbon/core/powermetrics.py",
    needs=("content",),
)
def options_output_file(program: Powermetrics) -> None:
    """What was in the file before is gone."""
    done, content = program.write("-i", "1", "-n", "1", "--samplers", "cpu_power")
    expect((done.status, done.out), (0, b""), "the exit status and standard output")
    expect(content.count(b"*** Sampled system activity"), 1, "samples in the file")
