# SPDX-License-Identifier: Apache-2.0
"""A snapshot as a ttar archive: read back by the rules of the script that the Prometheus projects have."""

import re
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_simulator import Machine
from raplica_simulator.surfaces.snapshot import Folder, Snapshot, take_snapshot
from raplica_simulator.surfaces.ttar import pack_ttar

#: A path with what it is: a directory's mode, a link's target, or a file's mode and content.
Entry = tuple[str, str, object]


def unpack(archive: bytes) -> Iterator[Entry]:
    """Read an archive as the script does: heads by their words, content by its count of lines."""
    lines = iter(archive.decode("utf-8", "surrogateescape").split("\n")[:-1])
    for line in lines:
        word, _, value = line.partition(": ")
        if line.startswith("#"):
            continue
        if word == "Directory":
            yield "dir", value, next(lines).removeprefix("Mode: ")
            continue
        assert word == "Path", line
        word, _, count = next(lines).partition(": ")
        if word == "SymlinkTo":
            yield "link", value, count
            continue
        assert word == "Lines"
        content = b"".join(unescape(next(lines)) for _ in range(int(count)))
        yield "file", value, (next(lines).removeprefix("Mode: "), content)


def unescape(line: str) -> bytes:
    """Undo one line of content, the four steps in the script's order."""
    ends_open = re.search(r"[^\\]EOF", line) is not None
    line = re.sub(r"(?<!\\)NULLBYTE", "\0", line)
    line = line.replace(r"\NULLBYTE", "NULLBYTE")
    line = re.sub(r"([^\\])EOF", r"\1", line)
    line = line.replace(r"\EOF", "EOF")
    return line.encode("utf-8", "surrogateescape") + (b"" if ends_open else b"\n")


def entries(folder: Folder, above: str = "") -> Iterator[Entry]:
    """What an archive must hold of a folder, in any order."""
    for name, mode, content in folder.files:
        yield "file", above + name, (f"{mode:o}", content)
    for name, target in folder.links:
        yield "link", above + name, target
    for below in folder.folders:
        yield "dir", above + below.name, f"{below.mode:o}"
        yield from entries(below, f"{above}{below.name}/")


def with_content(content: bytes) -> Snapshot:
    return Snapshot(Folder("", 0o755, [("file", 0o444, content)]), 1, ())


@pytest.mark.parametrize("machine", ["alderlake-p", "dtpm"])
def test_unpacked_it_is_the_snapshot(machine: str) -> None:
    snapshot = take_snapshot(Machine.from_profile(machine).sysfs)
    found = list(unpack(pack_ttar(snapshot)))
    assert sorted(found) == sorted(entries(snapshot.root))


def test_entries_are_in_the_order_in_which_the_script_packs_a_folder() -> None:
    root = Folder("", 0o755, [("b:0", 0o444, b""), (".hidden", 0o644, b""), ("B", 0o444, b"")], [("b", "x")])
    root.folders = [Folder("a", 0o700, [("z", 0o400, b"")]), Folder("b-", 0o755)]
    names = [name for _, name, _ in unpack(pack_ttar(Snapshot(root, 4, ())))]
    assert names == ["B", "a", "a/z", "b", "b-", "b:0", ".hidden"]


def test_the_head_says_what_made_it_on_one_line() -> None:
    head, _, rest = pack_ttar(with_content(b"1\n"), "a/b", "raplica generate x\ny").partition(b"\n")
    assert head == b"# Archive created by raplica generate x\\ny"
    assert [name for _, name, _ in unpack(rest)] == ["a", "a/b", "a/b/file"]


# Letters from which the words that the format escapes come about by chance.
PIECES = st.sampled_from([b"EOF", b"NULLBYTE", b"\0", b"\\", b"\n", b"12", b" ", b"\xe9", b"Mode: 644\n", b"# ", b"E"])


@given(st.lists(PIECES, max_size=8).map(b"".join))
def test_any_content_comes_back_or_is_refused(content: bytes) -> None:
    is_text = b"\\\0" not in content and not (content.endswith(b"\\"))
    if is_text:
        assert list(unpack(pack_ttar(with_content(content)))) == [("file", "file", ("444", content))]
    else:
        with pytest.raises(ValueError, match="use --format tar"):
            pack_ttar(with_content(content))


@pytest.mark.parametrize("content", [b"a\\", b"a\\\0b\n", b"\\"])
def test_content_that_the_script_would_change_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="file cannot be written"):
        pack_ttar(with_content(content))


def test_a_name_with_a_line_break_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a\\nb cannot be written"):
        pack_ttar(Snapshot(Folder("", 0o755, [("a\nb", 0o444, b"")]), 1, ()))
