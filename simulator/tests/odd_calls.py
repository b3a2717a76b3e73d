# SPDX-License-Identifier: Apache-2.0
"""A process that makes the system calls it is told to, one JSON line each way: `python -I -S odd_calls.py ROOT`.

Another process than the one that answers for the mount, so that a call that hangs hangs here, where it can be ended.
A call is a list: its name, a path below ROOT or the number of a descriptor that an earlier call opened, and its
arguments, bytes as hexadecimal.  The answer is what it returned: a number, bytes as hexadecimal, a list, or `{"errno":
N}`.
"""

import fcntl
import json
import mmap
import os
import select
import sys
from collections.abc import Callable
from pathlib import Path


def _open(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _pread(file: int, size: int, offset: int) -> str:
    return os.pread(file, size, offset).hex()


def _readv(file: int, first: int, second: int) -> str:
    parts = [bytearray(first), bytearray(second)]
    count = os.readv(file, parts)
    return b"".join(parts)[:count].hex()


def _poll(file: int) -> int:
    poll = select.poll()
    poll.register(file, select.POLLIN | select.POLLPRI | select.POLLOUT)
    ready = poll.poll(0)
    return ready[0][1] if ready else 0


def _fstat(file: int) -> list[int]:
    return _plain(os.fstat(file))


def _lstat(path: str) -> list[int]:
    return _plain(os.lstat(path))


def _plain(found: os.stat_result) -> list[int]:
    return [found.st_mode, found.st_nlink, found.st_uid, found.st_gid, found.st_size, found.st_blocks]


def _mmap(file: int) -> int:
    if os.fstat(file).st_size < 4096:
        return 0  # Python refuses that by itself
    mmap.mmap(file, 4096, mmap.MAP_SHARED, mmap.PROT_READ).close()
    return 0


def _beside(path: str) -> Path:
    return Path(path).with_name("new")


CALLS: dict[str, Callable[..., object]] = {
    # On a descriptor.
    "pread": _pread,
    "read": lambda file, size: os.read(file, size).hex(),
    "readv": _readv,
    "pwrite": lambda file, data, offset: os.pwrite(file, bytes.fromhex(data), offset),
    "write": lambda file, data: os.write(file, bytes.fromhex(data)),
    "lseek": os.lseek,
    "fstat": _fstat,
    "poll": _poll,
    "close": os.close,
    "listdir": os.listdir,
    "ftruncate": os.ftruncate,
    "fsync": os.fsync,
    "fchmod": os.fchmod,
    "fallocate": os.posix_fallocate,
    "mmap": _mmap,
    "ioctl": lambda file, command: fcntl.ioctl(file, command, bytes(64)) and 0,
    "flock": lambda file: fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB),
    # On a path.
    "open": _open,
    "list": os.listdir,
    "lstat": _lstat,
    "readlink": os.readlink,
    "chmod": os.chmod,
    "chown": os.chown,
    "truncate": os.truncate,
    "unlink": os.unlink,
    "rmdir": os.rmdir,
    "mkdir": lambda path: _beside(path).mkdir(),
    "mknod": lambda path: os.mknod(_beside(path)),
    "create": lambda path: _open(str(_beside(path)), os.O_CREAT | os.O_WRONLY),
    "rename": lambda path: str(Path(path).rename(_beside(path))),
    "link": lambda path: os.link(path, _beside(path), follow_symlinks=False),
    "symlink": lambda path: _beside(path).symlink_to("name"),
    "setxattr": lambda path: os.setxattr(path, "user.raplica", b"1"),
    "removexattr": lambda path: os.removexattr(path, "user.raplica"),
    "listxattr": os.listxattr,
    "statvfs": lambda path: os.statvfs(path).f_namemax,
    "utime": lambda path: os.utime(path, ns=(0, 0)),
}


def _main(root: str) -> None:
    for line in sys.stdin:
        name, where, *arguments = json.loads(line)
        target = f"{root}/{where}" if isinstance(where, str) else where
        try:
            answer = CALLS[name](target, *arguments)
        except OSError as error:
            answer = {"errno": error.errno}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _main(sys.argv[1])
