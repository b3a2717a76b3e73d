# SPDX-License-Identifier: Apache-2.0
"""The archive that a virtual machine starts from."""

from pathlib import Path

from kernel_witness.initramfs import archive, file_node, folder_nodes, link_node, program_node


def read_back(content: bytes) -> dict[str, tuple[int, bytes]]:
    """Read an archive of format newc: mode and content by path."""
    found: dict[str, tuple[int, bytes]] = {}
    offset = 0
    while True:
        head = content[offset : offset + 110]
        assert head[:6] == b"070701"
        fields = [int(head[6 + 8 * index : 14 + 8 * index], 16) for index in range(13)]
        name_start = offset + 110
        name = content[name_start : name_start + fields[11] - 1].decode()
        data_start = (name_start + fields[11] + 3) // 4 * 4
        if name == "TRAILER!!!":
            return found
        found[name] = (fields[1], content[data_start : data_start + fields[6]])
        offset = (data_start + fields[6] + 3) // 4 * 4


def test_what_goes_in_comes_out_with_its_mode() -> None:
    nodes = {"a/b/file": file_node(b"abc"), "init": program_node(b"#!x"), "lib": link_node("usr/lib")}
    assert read_back(archive(nodes)) == {
        "a": (0o40755, b""),
        "a/b": (0o40755, b""),
        "a/b/file": (0o100644, b"abc"),
        "init": (0o100755, b"#!x"),
        "lib": (0o120777, b"usr/lib"),
    }


def test_the_order_in_which_files_are_given_does_not_matter() -> None:
    nodes = {"b": file_node(b"1"), "a/c": file_node(b"22"), "a/b": file_node(b"333")}
    assert archive(nodes) == archive(dict(reversed(nodes.items())))


def test_a_folder_is_taken_whole_but_for_what_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_bytes(b"1")
    (tmp_path / "kept" / "link").symlink_to("file")
    (tmp_path / "not").mkdir()
    (tmp_path / "not" / "file").write_bytes(b"2")
    nodes = folder_nodes(tmp_path, "usr", frozenset({"not"}))
    assert nodes == {"usr/kept/file": file_node(b"1"), "usr/kept/link": link_node("file")}
