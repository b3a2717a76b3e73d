# SPDX-License-Identifier: Apache-2.0
"""The same system calls on this host's own sysfs and on a mount give the same: the running kernel is the oracle.

On the files that every device has for its power management, which a zone of powercap has as well: `power/control` can
be written, `power/runtime_status` cannot. On the host they are those of /dev/null, and nothing is done to them that
changes anything but times: what is written is what they hold, or what the kernel refuses. What a mount cannot give
stands in APART, call by call, and in docs/live.md.
"""

import fcntl
import mmap
import os
import platform
import re
import select
import stat
from collections.abc import Iterator
from contextlib import ExitStack, closing
from errno import EBADF, EINVAL, ENODATA, ENODEV, ENOTTY, EOPNOTSUPP, ESPIPE
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raplica_simulator import Machine

from .odd_caller import ACCESS, MACHINE, Caller, shown

HOST = Path("/sys/devices/virtual/mem/null")
BESIDE = "devices/virtual/powercap/intel-rapl"
HELD = {"power/control": "auto\n", "power/runtime_status": "unsupported\n"}
OLDEST = (6, 12)


def why_no_oracle() -> str | None:
    """Why the host's sysfs cannot say what is right, or nothing."""
    if os.geteuid() != 0:
        return "only root is refused nothing but what the file itself refuses"
    release = platform.release()
    numbers = re.match(r"(\d+)\.(\d+)", release)
    if numbers is None or tuple(map(int, numbers.groups())) < OLDEST:
        return f"this kernel is {release}, and the machine's is 6.12: an older sysfs answers some calls otherwise"
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    found = [(kind, options.split(",")) for _, place, kind, options, *_ in mounts if place == "/sys"]
    if not found or found[-1][0] != "sysfs" or "rw" not in found[-1][1]:
        return (
            f"/sys of this host is no sysfs that can be written: {found[-1] if found else 'nothing is mounted there'}"
        )
    for name, wanted in HELD.items():
        try:
            text, labels = (HOST / name).read_text(), os.listxattr(HOST / name)
        except OSError as error:
            return f"{HOST / name}: {error.strerror}"
        if text != wanted:
            return f"{HOST / name} holds {text!r} and not {wanted!r}"
        if labels:
            return f"{HOST / name} has {labels}: a security module of this host looks at its files"
    return None


NO_ORACLE = why_no_oracle()
pytestmark = [
    pytest.mark.untraced,  # test_fuse_random.py shows it
    pytest.mark.usefixtures("mounts"),
    pytest.mark.skipif(NO_ORACLE is not None, reason=f"no sysfs to compare with: {NO_ORACLE}"),
]

# What is called.

FILES = list(HELD)
FOLDERS = ["power", "power/.", "subsystem/", "power/../power"]
LINK = "subsystem"
MISSING = ["nothing", "power/nothing", "power/control/below", "power/" + "x" * 255, "x" * 300, "\udcff\udcfe", "a\nb"]
MORE = [0, os.O_TRUNC, os.O_CREAT, os.O_CREAT | os.O_EXCL, os.O_DIRECTORY, os.O_NOFOLLOW, os.O_DIRECT, os.O_PATH]
MORE += [os.O_TMPFILE, os.O_NONBLOCK, os.O_NOATIME, os.O_SYNC, os.O_TRUNC | os.O_DIRECTORY, os.O_CREAT | os.O_DIRECTORY]
MORE += [os.O_PATH | os.O_NOFOLLOW, os.O_CREAT | os.O_TRUNC, os.O_APPEND, os.O_APPEND | os.O_DIRECT]
# What `power/control` holds, and what the kernel refuses.
TEXTS = [b"", b"auto\n", b"auto", b"auto\n" + bytes(4091), b"auto\n" + bytes(4092), b"auto\0x", b"auto\nx", b" auto"]
TEXTS += [b"nonsense", b"x" * 4096, b"x" * 4097, b"x" * 200_000, b"\n", b"\0"]
SIZES = [0, 1, 2, 4095, 4096, 4097, 65_536, 1 << 20]
OFFSETS = [0, 1, 3, 5, 100, 4095, 4096, 4097, (1 << 31) - 1, 1 << 40, (1 << 63) - 1, -1]
LENGTHS = [0, 1, 100, 4096, 5000, (1 << 31) - 1, 1 << 31, 1 << 62, -1]
# TCGETS, FIGETBSZ, FIONREAD, FIONBIO, FIOASYNC, FIOQSIZE, FS_IOC_GETFLAGS, FS_IOC_FSGETXATTR, FS_IOC_FIEMAP.
IOCTLS = [0x5401, 2, 0x541B, 0x5421, 0x5452, 0x5460, 0x80086601, 0x801C581F, 0xC020660B, 0]
NODES = [stat.S_IFREG, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK]

Call = tuple[Any, ...]

ON_PATH: list[Call] = [
    *(("open_as_nobody", access | more) for access in ACCESS[:3] for more in (0, os.O_PATH, os.O_NOATIME, os.O_TRUNC)),
    *(("access", mode, effective) for mode in range(8) for effective in (False, True)),
    *(("statx", flags) for flags in (0, 0x100, 0x2000, 0x4000, 0x8000)),
    *(("truncate", length) for length in LENGTHS),
    *(("mknod", kind) for kind in NODES),
    *(("rename_with", flags) for flags in (1, 2, 3, 4, 8)),
    *((name,) for name in ("stat", "lstat", "statvfs", "readlink", "list", "tell_and_seek", "notice", "execute")),
    *((name,) for name in ("unlink", "rmdir", "mkdir", "create", "rename", "link", "symlink")),
    *((name,) for name in ("setxattr", "removexattr", "listxattr")),
    ("touch",),
    ("chown", -1, -1),
]
READS: list[Call] = [
    *(("pread", size, offset) for size in SIZES for offset in OFFSETS),
    *(("read", size) for size in SIZES),
    *(("readv", *sizes) for sizes in ((0, 0), (0, 3), (1, 4096), (2, 2))),
    *(
        ("preadv", sizes, offset, flags)
        for sizes in ([1, 1], [1] * 1024, [1] * 1025)
        for offset in (0, 2)
        for flags in (0, 1)
    ),
    *(("preadv", [10], 0, flags) for flags in (2, 4, 8, 16, 128)),
    ("read_twin", 3),
    ("copy", 100),
]
POLLS: list[Call] = [("poll",), ("epoll",), ("select",), ("poll", select.POLLPRI), ("poll", 0x40 | select.POLLERR)]
SEEKS: list[Call] = [
    ("lseek", offset, whence) for whence in range(7) for offset in (0, 1, -1, 3, 4095, 4096, -4096, 5000, -(1 << 63))
]
# No `fchmod` and no `fchown`: they would last on the host.
OTHERS: list[Call] = [
    *(("ftruncate", length) for length in LENGTHS),
    *(("ioctl", command) for command in IOCTLS),
    *(("fallocate", offset, length) for offset, length in ((0, 100), (-1, 1), (0, 0))),
    *(("fadvise", advice) for advice in (0, 1, 2, 3, 4, 5, 99)),
    *(("mmap", mmap.MAP_SHARED, access) for access in range(1, 8)),
    *(("flock", kind) for kind in (fcntl.LOCK_EX, fcntl.LOCK_SH, fcntl.LOCK_UN)),
    *(("lock", command, kind) for command in (fcntl.F_GETLK, fcntl.F_SETLK, 36, 37) for kind in range(3)),
    *(("fcntl", command, argument) for command, argument in ((fcntl.F_GETFL, 0), (fcntl.F_SETFL, os.O_NONBLOCK))),
    *(("fcntl", command, 0) for command in (fcntl.F_GETLEASE, fcntl.F_GETSIG, 1032, 1034)),
    *(("open_again", access | more) for access in ACCESS for more in (0, os.O_DIRECT, os.O_DIRECTORY, os.O_PATH)),
    *(("below", name, os.O_RDONLY) for name in ("..", ".", "control", "nothing")),
    *(("names", room) for room in (0, 1, 23, 24, 32, 64, 4096)),
    *((name,) for name in ("fstat", "fsync", "fdatasync", "listdir", "listxattr", "setxattr")),
]

# What FUSE cannot give: path, how it is opened or None, calls of which the last one counts, what sysfs says (ANY where
# that is nobody's business) and what the mount says. docs/live.md has it in words.
ANY = "anything else"
RDONLY, RDWR = os.O_RDONLY, os.O_RDWR
APPENDED = [("write", b"auto".hex()), ("lseek", 0, os.SEEK_CUR)]


def refused(errno: int) -> dict[str, int]:
    return {"errno": errno}


APART: list[tuple[str, int | None, list[Call], object, object]] = [
    ("power/control", RDONLY, [("lseek", 1 << 31, os.SEEK_SET)], refused(EINVAL), 1 << 31),
    ("power", RDONLY, [("lseek", 1 << 31, os.SEEK_SET)], refused(EINVAL), 1 << 31),
    ("power/control", RDONLY, [("pwrite", "", 0)], refused(ESPIPE), refused(EBADF)),
    ("power/control", RDONLY, [("pwritev", "00", 0, 0)], refused(ESPIPE), refused(EBADF)),
    ("power/control", RDWR | os.O_APPEND, APPENDED, 4, 4100),
    ("power/control", RDONLY, [("fcntl", fcntl.F_SETFL, os.O_DIRECT)], refused(EINVAL), 0),
    ("power/control", RDONLY, [("mmap", mmap.MAP_PRIVATE, mmap.PROT_READ)], refused(ENODEV), 0),
    ("power/control", RDONLY, [("send", 100, 0)], b"auto\n".hex(), refused(EINVAL)),
    ("power/control", RDONLY, [("splice", 100, 0)], b"auto\n".hex(), refused(EINVAL)),
    ("power/control", RDONLY, [("ioctl", 1)], refused(EINVAL), bytes(64).hex()),
    ("power/control", RDONLY, [("ioctl", 0x80111500)], ANY, refused(ENOTTY)),
    ("power/control", None, [("getxattr", "user.raplica")], refused(ENODATA), refused(EOPNOTSUPP)),
    ("power/control", None, [("getxattr", "trusted.raplica")], refused(ENODATA), refused(EOPNOTSUPP)),
    ("power/control", None, [("getxattr", "security.raplica")], refused(ENODATA), refused(EOPNOTSUPP)),
    ("power/control", None, [("removexattr", "trusted.raplica")], refused(ENODATA), refused(EOPNOTSUPP)),
    ("power/control", None, [("getxattr", "system.posix_acl_access")], refused(EOPNOTSUPP), refused(ENODATA)),
]


class Both:
    """The two processes that are told the same, and what they have open."""

    def __init__(self, host: Caller, mount: Caller) -> None:
        self.host = host
        self.mount = mount

    def ask(self, name: str, where: str | tuple[int, int], *arguments: object) -> tuple[Any, Any]:
        """What each says; a descriptor is a pair of numbers."""
        here, there = (where, where) if isinstance(where, str) else where
        return self.host.call(name, here, *arguments), self.mount.call(name, there, *arguments)

    def open(self, path: str, flags: int) -> tuple[int, int]:
        """Open on both, which has to succeed."""
        here, there = self.ask("open", path, flags)
        assert isinstance(here, int), (path, flags, here)
        assert isinstance(there, int), (path, flags, there)
        return here, there

    def differ(self, where: str | tuple[int, int], calls: list[Call]) -> list[tuple[object, ...]]:
        """The calls that do not give the same, with what they gave."""
        found: list[tuple[object, ...]] = []
        for name, *arguments in calls:
            here, there = self.ask(name, where, *arguments)
            if seen(name, here) != seen(name, there):
                found.append((where, name, arguments, here, there))
        return found


def seen(name: str, answer: object) -> object:
    """An answer less what differs between two devices: which names lie in a folder, and where a link leads to."""
    if name in ("list", "listdir", "names") and isinstance(answer, list):
        return bool(answer)
    return True if name == "readlink" and isinstance(answer, str) else answer


def seeks(name: str) -> list[Call]:
    """Where to: in a folder a position is a cookie, and only those that were handed out mean anything."""
    return SEEKS if name in FILES else [("lseek", 0, os.SEEK_SET), ("lseek", 0, os.SEEK_CUR)]


def writes(name: str) -> list[Call]:
    """Every way to write, with what is safe."""
    texts = [text.hex() for text in (TEXTS if name == "power/control" else TEXTS[8:])]
    text = texts[1]
    return [
        *(("write", one) for one in texts),
        *(("pwrite", one, offset) for one in texts[:3] for offset in OFFSETS),
        *(("pwritev", text, offset, flags) for offset in (0, 3) for flags in (0, 2, 4, 8, 128)),
        *(("writev", *parts) for parts in ((text, text), ("", text), (text[:4], text[4:]), ())),
        ("send_into", text),
        ("splice_into", text),
    ]


@pytest.fixture(scope="module")
def both() -> Iterator[Both]:
    with ExitStack() as stack:
        # One at a time: what is locked or noticed on the host is by us alone.
        alone = os.open(HOST, os.O_RDONLY)
        stack.callback(os.close, alone)
        fcntl.flock(alone, fcntl.LOCK_EX)
        mount, troubles = stack.enter_context(shown(Machine.from_profile(MACHINE), allow_other=True))
        host = stack.enter_context(closing(Caller(str(HOST))))
        yield Both(host, stack.enter_context(closing(Caller(f"{mount.directory}/sys/{BESIDE}"))))
        assert troubles == []
        assert {name: (HOST / name).read_text() for name in HELD} == HELD


def test_every_way_to_open_gives_the_same(both: Both) -> None:
    apart, opened = [], 0
    for path in [*FILES, *FOLDERS, LINK, *MISSING]:
        for flags in [access | more for access in ACCESS for more in MORE]:
            found = both.ask("open", path, flags)
            if all(isinstance(one, int) for one in found):
                opened += 1
                apart += both.differ(found, [("fcntl", fcntl.F_GETFL, 0), ("fstat",), ("close",)])
            elif found[0] != found[1]:
                apart.append((path, flags, *found))
    assert apart == []
    assert opened > 100


@pytest.mark.parametrize("path", [*FILES, *FOLDERS, LINK, *MISSING])
def test_every_call_on_a_path_gives_the_same(both: Both, path: str) -> None:
    assert both.differ(path, ON_PATH) == []


@pytest.mark.parametrize("path", [*FILES, "power"])
@pytest.mark.parametrize("access", [*ACCESS, os.O_PATH])
def test_every_call_on_a_descriptor_gives_the_same(both: Both, path: str, access: int) -> None:
    found = both.ask("open", path, access)
    if isinstance(found[0], dict):
        assert found[0] == found[1]
        return
    calls = [*POLLS, *READS, *POLLS, *seeks(path), ("lseek", 0, os.SEEK_SET), *OTHERS]
    # Without the right to write sysfs says ESPIPE to whoever names an offset: see APART.
    calls += [call for call in writes(path) if access not in (os.O_RDONLY, 3) or not call[0].startswith("pwrite")]
    assert both.differ(found, [*calls, ("lseek", 0, os.SEEK_CUR), ("fstat",), ("close",)]) == []


@pytest.mark.parametrize(("path", "flags", "calls", "host", "mount"), APART)
def test_what_fuse_cannot_give_is_what_the_manual_says(
    both: Both, path: str, flags: int | None, calls: list[Call], host: object, mount: object
) -> None:
    where = path if flags is None else both.open(path, flags)
    answers = [both.ask(name, where, *arguments) for name, *arguments in calls]
    if flags is not None:
        both.ask("close", where)
    assert answers[-1][1] == mount
    assert answers[-1][0] == host if host is not ANY else answers[-1][0] != mount


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_calls_in_any_order_give_the_same(both: Both, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from([*FILES, "power"]))
    access = data.draw(st.sampled_from([os.O_RDONLY, os.O_RDWR if path == "power/control" else os.O_RDONLY]))
    opened = both.open(path, access)
    calls = [*READS, *POLLS, *seeks(path), *OTHERS, *(writes(path) if access == os.O_RDWR else [])]
    try:
        assert both.differ(opened, data.draw(st.lists(st.sampled_from(calls), max_size=20))) == []
    finally:
        both.ask("close", opened)
