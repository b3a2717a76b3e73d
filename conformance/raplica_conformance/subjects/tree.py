# SPDX-License-Identifier: Apache-2.0
"""A directory that stands for /sys: a snapshot that somebody wrote, or a live mount.

A snapshot has contents, modes and links, and nothing else that is sysfs's own: sizes, link counts and the
order of entries are those of the file system under it, and a file cannot refuse to be read. Whoever writes a
snapshot leaves an attribute whose read fails empty; so an empty file means "it failed" wherever the kernel can
fail, and the subject then says that it cannot tell.
"""

import os
import re

from raplica_conformance.subject import CannotTell
from raplica_conformance.subjects.files import FileTree, shown

__all__ = ["ALWAYS_READ", "LiveTree", "WrittenTree"]

#: Attributes that the kernel always answers: drivers/powercap/powercap_sys.c name_show, max_energy_range_uj_show
#: and show_constraint_name ask no register. Empty, they are wrong and not unknown. uevent is rightly empty.
ALWAYS_READ = re.compile(r"name|uevent|max_(energy|power)_range_u[jw]|constraint_[0-9]+_name")


class WrittenTree(FileTree):
    """A snapshot in a directory; `kernel` is whatever the caller knows of where it came from."""

    can = frozenset({"content", "modes", "links"})

    def __init__(self, root: str | os.PathLike[str], kernel: str | None = None) -> None:
        super().__init__(root)
        self.name = f"tree:{shown(root)}"
        self.kernel = kernel
        self.arguments = ("--tree", os.fspath(root), *(("--kernel", kernel) if kernel else ()))

    def read(self, path: str) -> bytes:
        """The content; CannotTell for an empty file whose read may have failed, and for one closed to us."""
        try:
            content = super().read(path)
        except PermissionError as error:
            raise CannotTell(0, f"{path}: {error.strerror}") from error
        if not content and not ALWAYS_READ.fullmatch(path.rpartition("/")[2]):
            raise CannotTell(0, f"{path} is empty: its read failed when the tree was written")
        return content


class LiveTree(FileTree):
    """A mount that behaves like sysfs: it has to answer for sizes, order and errnos as well."""

    can = frozenset({"content", "errno", "modes", "links", "order", "size", "live"})

    def __init__(self, root: str | os.PathLike[str], kernel: str | None = None) -> None:
        super().__init__(root)
        self.name = f"tree:{shown(root)}"
        self.kernel = kernel
        self.arguments = ("--tree", os.fspath(root), "--live", *(("--kernel", kernel) if kernel else ()))

    def read(self, path: str) -> bytes:
        """What reads now; CannotTell for a file that is root's while we are not."""
        return read_as_ourselves(self, path)


def read_as_ourselves(tree: FileTree, path: str) -> bytes:
    """Read, and say CannotTell instead of EACCES where only the lack of root stands in the way."""
    try:
        return FileTree.read(tree, path)
    except PermissionError as error:
        if os.geteuid() == 0:
            raise
        raise CannotTell(0, f"{path}: only root may read it") from error
