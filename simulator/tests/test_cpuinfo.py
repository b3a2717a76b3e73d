# SPDX-License-Identifier: Apache-2.0
"""/proc/cpuinfo of a machine: the kernel's layout, only what is known, and whole lines for every way of reading."""

import os
import re
import select
from collections.abc import Callable, Mapping
from errno import EBADF, EINVAL, EIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raplica_simulator import Machine
from raplica_simulator.linux.cpuinfo import Cpuinfo, CpuinfoFile

Make = Callable[..., Machine]

# The labels of 6.1.192, 6.12.117 and 7.2.12 with their tabs, in order, less those that depend on what nobody knows of
# a profile: microcode, cache size, TLB size.
LABELS = (
    *("processor\t", "vendor_id\t", "cpu family\t", "model\t\t", "model name\t", "stepping\t", "cpu MHz\t\t"),
    *("physical id\t", "siblings\t", "core id\t\t", "cpu cores\t", "apicid\t\t", "initial apicid\t", "fpu\t\t"),
    *("fpu_exception\t", "cpuid level\t", "wp\t\t", "flags\t\t", "bugs\t\t", "bogomips\t", "clflush size\t"),
    *("cache_alignment\t", "address sizes\t", "power management"),
)


def errno_of(call: Callable[..., object], *arguments: object) -> int:
    try:
        call(*arguments)
    except OSError as error:
        return error.errno or 0
    return 0


def blocks(machine: Machine) -> list[Mapping[str, str]]:
    """The file as programs take it apart."""
    text = Cpuinfo(machine).text().decode()
    assert text.endswith("\n\n")
    return [
        {label.strip(): value.strip() for label, _, value in (line.partition(":") for line in block.splitlines())}
        for block in text.removesuffix("\n\n").split("\n\n")
    ]


def read_all(file: CpuinfoFile, size: int) -> list[bytes]:
    """What reads of one size give, one after another, up to the end."""
    parts: list[bytes] = []
    offset = 0
    while part := file.pread(size, offset):
        parts.append(part)
        offset += len(part)
    return parts


def test_a_block_has_the_lines_that_were_witnessed_in_their_order() -> None:
    machine = Machine.from_profile("skylake-sp-2s")
    lines = Cpuinfo(machine).block(3).decode().splitlines()
    assert [line.partition(":")[0] for line in lines[:-1]] == list(LABELS)
    assert lines[-1] == ""
    # A blank behind each colon, but nothing where there is nothing to say.
    assert all(re.search(r": \S", line) for line in lines[:-1] if not line.startswith(("bugs", "power")))
    assert [line for line in lines if line.startswith(("bugs", "power"))] == ["bugs\t\t:", "power management:"]


def test_the_first_kernel_has_no_line_for_bugs() -> None:
    text = Cpuinfo(Machine.from_profile("sandybridge", kernel="3.13")).block(0).decode()
    assert [line.partition(":")[0] for line in text.splitlines()[:-1]] == [
        name for name in LABELS if name != "bugs\t\t"
    ]


def test_a_processor_is_what_its_profile_says() -> None:
    first, *_, last = found = blocks(Machine.from_profile("skylake-sp-2s"))
    assert len(found) == 80
    assert [first[name] for name in ("vendor_id", "cpu family", "model", "stepping")] == [
        "GenuineIntel",
        "6",
        "85",
        "4",
    ]
    assert first["model name"] == "Intel(R) Xeon(R) Gold 6148 CPU @ 2.40GHz"
    assert (first["cpu MHz"], first["bogomips"]) == ("2400.000", "4800.00")
    place = ("physical id", "siblings", "core id", "cpu cores", "apicid", "initial apicid")
    assert [first[name] for name in place] == ["0", "40", "0", "20", "0", "0"]
    # 20 cores take five bits of an APIC id, two threads one.
    assert [last[name] for name in place] == ["1", "40", "19", "20", "103", "103"]


def test_a_frequency_that_nobody_knows_is_two_gigahertz(make_machine: Make) -> None:
    first = blocks(make_machine("zen3"))[0]
    assert (first["cpu MHz"], first["bogomips"], first["model name"]) == ("2000.000", "4000.00", "unknown")


def test_flags_are_those_of_the_profile_and_of_every_64_bit_processor(make_machine: Make) -> None:
    base = "fpu tsc msr pae cx8 cmov fxsr sse sse2 ht syscall nx lm"
    assert blocks(make_machine("skylake-sp", flags=("pts", "pln")))[0]["flags"] == f"{base} pln pts"
    amd = blocks(make_machine("zen3", flags=("rapl",)))[0]
    assert (amd["flags"], amd["power management"]) == (f"{base} rapl", "[14]")
    # One processor has nobody to share with.
    assert "ht" not in blocks(make_machine("skylake-sp", topology=(1, 1, 1, 1)))[0]["flags"].split()
    # What the kernel's order says nothing of comes last.
    assert blocks(make_machine("skylake-sp", flags=("zz", "aa")))[0]["flags"] == f"{base} aa zz"


def test_what_a_profile_names_is_all_that_is_claimed_of_rapl(make_machine: Make) -> None:
    assert "rapl" not in blocks(make_machine("zen3"))[0]["flags"].split()
    assert blocks(make_machine("zen3"))[0]["power management"] == ""


def test_processors_that_are_down_are_left_out_and_counted_out(make_machine: Make) -> None:
    """Witnessed: siblings are the threads that are up, cpu cores the cores with one."""
    machine = make_machine("skylake-sp", topology=(2, 1, 2, 2))
    machine.cpu(4).offline()
    found = {block["processor"]: (block["siblings"], block["cpu cores"]) for block in blocks(machine)}
    assert list(found) == ["0", "1", "2", "3", "5", "6", "7"]
    assert (found["0"], found["5"], found["7"]) == (("3", "2"), ("3", "2"), ("4", "2"))
    machine.cpu(0).offline()
    assert blocks(machine)[0]["processor"] == "1"
    assert (blocks(machine)[0]["siblings"], blocks(machine)[0]["cpu cores"]) == ("2", "1")


def test_the_file_agrees_with_the_topology_about_packages() -> None:
    """How pyRAPL and codecarbon count sockets."""
    for name in ("cascadelake-ap-2s", "zen2-epyc-2s", "alderlake-p"):
        machine = Machine.from_profile(name)
        packages = {block["physical id"] for block in blocks(machine)}
        assert len(packages) == machine.profile.topology.packages


# Reading.


def test_a_read_gives_whole_blocks_up_to_a_page() -> None:
    machine = Machine.from_profile("skylake-sp-2s")
    text = Cpuinfo(machine).text()
    parts = read_all(CpuinfoFile(Cpuinfo(machine), os.O_RDONLY), 1 << 17)
    assert b"".join(parts) == text
    assert all(len(part) <= 4096 and part.endswith(b"\n\n") for part in parts)
    assert len(parts) < 80


@given(sizes=st.lists(st.integers(1, 9000), min_size=1, max_size=20))
@settings(max_examples=50, deadline=None)
def test_readers_of_any_sizes_get_the_same_text(sizes: list[int]) -> None:
    machine = Machine.from_profile("kabylake")
    file = CpuinfoFile(Cpuinfo(machine), os.O_RDONLY)
    held = b""
    step = 0
    while part := file.pread(sizes[step % len(sizes)], len(held)):
        assert len(part) <= sizes[step % len(sizes)]
        held += part
        step += 1
    assert held == Cpuinfo(machine).text()


def test_a_reader_of_single_bytes_gets_whole_lines() -> None:
    machine = Machine.from_profile("kabylake")
    assert b"".join(read_all(CpuinfoFile(Cpuinfo(machine), os.O_RDONLY), 1)) == Cpuinfo(machine).text()


@given(offset=st.integers(0, 4000), size=st.integers(0, 5000))
@settings(max_examples=50, deadline=None)
def test_a_read_anywhere_begins_where_it_was_asked_to(offset: int, size: int) -> None:
    machine = Machine.from_profile("kabylake")
    text = Cpuinfo(machine).text()
    part = CpuinfoFile(Cpuinfo(machine), os.O_RDONLY).pread(size, offset)
    assert part == text[offset : offset + len(part)]
    assert bool(part) == bool(size and offset < len(text))


def test_a_descriptor_kept_open_shows_what_has_changed(make_machine: Make) -> None:
    machine = make_machine("skylake-sp", topology=(1, 1, 4, 1))
    file = CpuinfoFile(Cpuinfo(machine), os.O_RDONLY)
    assert b"".join(read_all(file, 4096)).count(b"processor") == 4
    machine.cpu(3).offline()
    assert b"".join(read_all(file, 4096)).count(b"processor") == 3
    # A block that was begun is told to its end; those that follow are as they are by then.
    first = file.pread(100, 0)
    machine.cpu(1).offline()
    parts = [first]
    while part := file.pread(100, sum(map(len, parts))):
        parts.append(part)
    assert re.findall(rb"^processor\t: (\d)", b"".join(parts), re.MULTILINE) == [b"0", b"2"]


def test_calls_fail_as_on_the_kernels_file() -> None:
    """As on the file of Linux 6.18."""
    cpuinfo = Cpuinfo(Machine.from_profile("kabylake"))
    reader, writer, neither = (CpuinfoFile(cpuinfo, flags) for flags in (os.O_RDONLY, os.O_WRONLY, os.O_ACCMODE))
    assert errno_of(writer.pwrite, b"x", 0) == EIO
    assert errno_of(CpuinfoFile(cpuinfo, os.O_RDWR).pwrite, b"", 0) == EIO
    assert errno_of(reader.pwrite, b"x", 0) == EBADF
    assert [errno_of(file.pread, 1, 0) for file in (writer, neither)] == [EBADF, EBADF]
    assert [errno_of(reader.pread, *numbers) for numbers in ((1, -1), (-1, 0))] == [EINVAL, EINVAL]
    assert errno_of(reader.lseek, 0, os.SEEK_END) == EINVAL
    assert errno_of(reader.lseek, -1) == EINVAL
    assert reader.lseek(100_000) == 100_000
    assert reader.pread(10, 100_000) == b""
    assert reader.pread(0, 0) == b""
    assert reader.poll() == select.POLLIN | select.POLLOUT


@pytest.mark.parametrize("kernel", ["3.13", "5.5", "6.1", "6.12", "7.2"])
def test_every_kernel_has_a_block_for_every_processor(kernel: str) -> None:
    machine = Machine.from_profile("sandybridge", kernel=kernel)
    assert [block["processor"] for block in blocks(machine)] == [
        str(cpu.number) for cpu in machine.profile.topology.cpus
    ]
