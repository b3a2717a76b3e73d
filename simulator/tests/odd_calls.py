# SPDX-License-Identifier: Apache-2.0
"""A process that makes the system calls it is told to, one JSON line each way: `python -I -S odd_calls.py ROOT`.

Another process than the one that answers for the mount, so that a call that hangs hangs here, where it can be ended.
A call is a list: its name, a path below ROOT or the number of a descriptor that an earlier call opened, and its
arguments, bytes as hexadecimal.  The answer is what it returned: a number, bytes as hexadecimal, a list, or `{"errno":
N}`.
"""

import ctypes
import fcntl
import json
import mmap
import os
import select
import signal
import stat
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)
NOBODY = 65534
AT_FDCWD = -100
LOCK = struct.Struct("=hhqqi4x")
STATX = struct.Struct("=IIQIIIH2xQQQQ")


def _open(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


# On a descriptor.


def _pread(file: int, size: int, offset: int) -> str:
    return os.pread(file, size, offset).hex()


def _readv(file: int, first: int, second: int) -> str:
    parts = [bytearray(first), bytearray(second)]
    count = os.readv(file, parts)
    return b"".join(parts)[:count].hex()


def _preadv(file: int, sizes: list[int], offset: int, flags: int) -> str:
    parts = [bytearray(size) for size in sizes]
    count = os.preadv(file, parts, offset, flags)
    return b"".join(parts)[:count].hex()


def _writev(file: int, *parts: str) -> int:
    return os.writev(file, [bytes.fromhex(part) for part in parts])


@contextmanager
def _memory(content: str = "") -> Iterator[int]:
    """A file of plain memory at its beginning, with some content."""
    memory = os.memfd_create("odd")
    try:
        os.write(memory, bytes.fromhex(content))
        os.lseek(memory, 0, os.SEEK_SET)
        yield memory
    finally:
        os.close(memory)


def _send(file: int, size: int, offset: int | None) -> str:
    with _memory() as memory:
        return os.pread(memory, os.sendfile(memory, file, offset, size), 0).hex()


def _send_into(file: int, content: str) -> int:
    with _memory(content) as memory:
        return os.sendfile(file, memory, 0, len(content) // 2)


def _copy(file: int, size: int) -> int:
    with _memory() as memory:
        return os.copy_file_range(file, memory, size)


def _splice(file: int, size: int, offset: int | None) -> str:
    out, into = os.pipe()
    try:
        count = os.splice(file, into, size, offset_src=offset)
        return os.read(out, count).hex() if count else ""
    finally:
        os.close(into)
        os.close(out)


def _splice_into(file: int, content: str) -> int:
    out, into = os.pipe()
    try:
        os.write(into, bytes.fromhex(content))
        return os.splice(out, file, len(content) // 2)
    finally:
        os.close(into)
        os.close(out)


def _read_twin(file: int, size: int) -> list[object]:
    """What a duplicate of the descriptor reads, and where both then are."""
    twin = os.dup(file)
    try:
        return [os.read(twin, size).hex(), os.lseek(file, 0, os.SEEK_CUR)]
    finally:
        os.close(twin)


def _poll(file: int, events: int = select.POLLIN | select.POLLPRI | select.POLLOUT) -> int:
    poll = select.poll()
    poll.register(file, events)
    ready = poll.poll(0)
    return ready[0][1] if ready else 0


def _epoll(file: int) -> list[int]:
    with select.epoll() as epoll:
        epoll.register(file, select.EPOLLIN | select.EPOLLPRI | select.EPOLLET)
        return [events for _, events in epoll.poll(0)]


def _select(file: int) -> list[bool]:
    return [bool(ready) for ready in select.select([file], [file], [file], 0)]


def _mmap(file: int, flags: int = mmap.MAP_SHARED, access: int = mmap.PROT_READ) -> int:
    if os.fstat(file).st_size < 4096:
        return 0  # Python refuses that by itself
    mmap.mmap(file, 4096, flags, access).close()
    return 0


def _ioctl(file: int, command: int) -> str:
    answer = bytearray(256)
    fcntl.ioctl(file, command, answer)
    return answer[:64].hex()


def _lock(file: int, command: int, kind: int) -> int:
    answer = fcntl.fcntl(file, command, LOCK.pack(kind, os.SEEK_SET, 0, 0, 0))
    return int(LOCK.unpack(answer)[0])


def _names(file: int, room: int) -> list[str]:
    """One getdents64."""
    buffer = ctypes.create_string_buffer(room)
    length = _done(LIBC.getdents64(file, buffer, ctypes.c_size_t(room)))
    names, start = [], 0
    while start < length:
        (size,) = struct.unpack_from("=H", buffer, start + 16)
        names.append(os.fsdecode(buffer.raw[start + 19 : start + size].split(b"\0", 1)[0]))
        start += size
    return names


def _below(file: int, name: str, flags: int) -> None:
    os.close(os.open(name, flags, dir_fd=file))


def _open_again(file: int, flags: int) -> None:
    os.close(os.open(f"/proc/self/fd/{file}", flags))


# On a path.


def _plain(found: os.stat_result) -> list[int]:
    return [found.st_mode, found.st_nlink, found.st_uid, found.st_gid, found.st_size, found.st_blocks]


def _statx(path: str, flags: int) -> list[int]:
    """What statx says, its number and its times aside."""
    buffer = ctypes.create_string_buffer(256)
    _done(LIBC.statx(AT_FDCWD, os.fsencode(path), flags, 0xFFF, buffer))
    mask, block, attributes, links, owner, group, mode, _, size, blocks, known = STATX.unpack_from(buffer)
    return [mask, block, attributes, links, owner, group, mode, size, blocks, known]


def _statvfs(path: str) -> list[int]:
    """What statvfs says, the flags of the mount aside."""
    found = os.statvfs(path)
    return [found.f_bsize, found.f_frsize, found.f_blocks, found.f_bfree, found.f_files, found.f_ffree, found.f_namemax]


def _in_a_child(call: Callable[[], None]) -> int:
    """The errno of a call that a child makes and does not outlive; 0 where there is none."""
    child = os.fork()
    if child == 0:
        try:
            call()
        except OSError as error:
            os._exit(error.errno or 0)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _open_as_nobody(path: str, flags: int) -> int:
    def opened() -> None:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        os.open(path, flags)

    return _in_a_child(opened)


def _inotify(path: str) -> list[int]:
    """What is noticed of an open, a read and a close."""
    watch = _done(LIBC.inotify_init1(os.O_NONBLOCK))
    try:
        _done(LIBC.inotify_add_watch(watch, os.fsencode(path), 0xFFF))
        file = os.open(path, os.O_RDONLY)
        if not os.path.isdir(path):  # noqa: PTH112 - the path is as it was told
            os.read(file, 100)
        os.close(file)
        events = os.read(watch, 4096)
        return [struct.unpack_from("=i3I", events, start)[1] for start in range(0, len(events), 16)]
    finally:
        os.close(watch)


def _rename_with(path: str, flags: int) -> None:
    _done(LIBC.renameat2(AT_FDCWD, os.fsencode(path), AT_FDCWD, os.fsencode(_beside(path)), flags))


def _tell_and_seek(path: str) -> list[bool]:
    """Whether every name is found again where telldir was, the last one first, and all of them after rewinddir."""
    LIBC.opendir.restype = LIBC.readdir.restype = ctypes.c_void_p
    LIBC.telldir.restype = ctypes.c_long
    found = LIBC.opendir(os.fsencode(path))
    if not found:
        raise OSError(ctypes.get_errno(), "opendir")
    folder = ctypes.c_void_p(found)

    def rest() -> Iterator[tuple[int, bytes]]:
        while True:
            place, entry = LIBC.telldir(folder), LIBC.readdir(folder)
            if not entry:
                return
            yield place, ctypes.string_at(entry + 19)

    def again(place: int) -> bytes:
        LIBC.seekdir(folder, ctypes.c_long(place))
        return next(rest())[1]

    whole = list(rest())
    sought = [again(place) == name for place, name in reversed(whole)]
    LIBC.rewinddir(folder)
    same = [name for _, name in rest()] == [name for _, name in whole]
    LIBC.closedir(folder)
    return [all(sought), same]


def _beside(path: str) -> Path:
    return Path(path).absolute().with_name("new")


def _done(result: int) -> int:
    """What a function of libc returned; OSError where it failed."""
    if result < 0:
        raise OSError(ctypes.get_errno(), "libc")
    return result


ON_DESCRIPTOR: dict[str, Callable[..., object]] = {
    "pread": _pread,
    "preadv": _preadv,
    "read": lambda file, size: os.read(file, size).hex(),
    "readv": _readv,
    "read_twin": _read_twin,
    "send": _send,
    "copy": _copy,
    "splice": _splice,
    "pwrite": lambda file, data, offset: os.pwrite(file, bytes.fromhex(data), offset),
    "pwritev": lambda file, data, offset, flags: os.pwritev(file, [bytes.fromhex(data)], offset, flags),
    "write": lambda file, data: os.write(file, bytes.fromhex(data)),
    "writev": _writev,
    "send_into": _send_into,
    "splice_into": _splice_into,
    "lseek": os.lseek,
    "fstat": lambda file: _plain(os.fstat(file)),
    "poll": _poll,
    "epoll": _epoll,
    "select": _select,
    "close": os.close,
    "listdir": os.listdir,
    "names": _names,
    "ftruncate": os.ftruncate,
    "fsync": os.fsync,
    "fdatasync": os.fdatasync,
    "fchmod": os.fchmod,
    "fallocate": os.posix_fallocate,
    "fadvise": lambda file, advice: os.posix_fadvise(file, 0, 0, advice),
    "mmap": _mmap,
    "ioctl": _ioctl,
    "flock": lambda file, kind=fcntl.LOCK_EX: fcntl.flock(file, kind | fcntl.LOCK_NB),
    "lock": _lock,
    "fcntl": fcntl.fcntl,
    "open_again": _open_again,
    "below": _below,
}
ON_PATH: dict[str, Callable[..., object]] = {
    "open": _open,
    "open_as_nobody": _open_as_nobody,
    "access": lambda path, mode, effective: os.access(path, mode, effective_ids=effective),
    "list": os.listdir,
    "tell_and_seek": _tell_and_seek,
    "stat": lambda path: _plain(Path(path).stat()),
    "lstat": lambda path: _plain(os.lstat(path)),
    "statx": _statx,
    "statvfs": _statvfs,
    "readlink": os.readlink,
    "chmod": os.chmod,
    "chown": os.chown,
    "truncate": os.truncate,
    "unlink": os.unlink,
    "rmdir": os.rmdir,
    "mkdir": lambda path: _beside(path).mkdir(),
    "mknod": lambda path, mode=stat.S_IFREG: os.mknod(_beside(path), mode),
    "create": lambda path: _open(str(_beside(path)), os.O_CREAT | os.O_WRONLY),
    "rename": lambda path: str(Path(path).rename(_beside(path))),
    "rename_with": _rename_with,
    "link": lambda path: os.link(path, _beside(path), follow_symlinks=False),
    "symlink": lambda path: _beside(path).symlink_to("name"),
    "getxattr": lambda path, name: os.getxattr(path, name).hex(),
    "setxattr": lambda path, name="user.raplica": os.setxattr(path, name, b"1"),
    "removexattr": lambda path, name="user.raplica": os.removexattr(path, name),
    "listxattr": os.listxattr,
    "utime": lambda path: os.utime(path, ns=(0, 0)),
    "touch": os.utime,
    "notice": _inotify,
    "execute": lambda path: _in_a_child(lambda: os.execv(path, [path])),  # noqa: S606 - no shell, that is the point
}
CALLS = ON_DESCRIPTOR | ON_PATH


def _main(root: str) -> None:
    # Whoever has given up root may stand here all the same, though perhaps not walk to here.
    os.chdir(root)
    # What F_NOTIFY and O_ASYNC send.
    signal.signal(signal.SIGIO, signal.SIG_IGN)
    for line in sys.stdin:
        name, where, *arguments = json.loads(line)
        try:
            answer = CALLS[name](where, *arguments)
        except OSError as error:
            answer = {"errno": error.errno}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _main(sys.argv[1])
