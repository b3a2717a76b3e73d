# SPDX-License-Identifier: Apache-2.0
"""The stand-in of ``/usr/bin/powermetrics``: what `raplica exec --as macos` puts first in PATH.

It shows the machine whose control door the environment names.  As the real one it is for root alone, says so on
standard output and ends with 1.
"""

import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from raplica_simulator.control.client import Connection, Refused
from raplica_simulator.macos import plist, text
from raplica_simulator.macos.mac import Mac
from raplica_simulator.macos.meters import SAMPLE_NOW, DoorMeters, Meters
from raplica_simulator.macos.options import Options, read_options
from raplica_simulator.macos.samples import samples

__all__ = ["BOOT", "DOOR", "MAC", "main", "show"]

#: In the environment: where the machine takes orders, what it is, and the date at which it was switched on.
DOOR, MAC, BOOT = "RAPLICA_CONTROL", "RAPLICA_MAC", "RAPLICA_MAC_BOOT_NS"
_REFUSAL = b"powermetrics must be invoked as the superuser\n"


def show(meters: Meters, mac: Mac, options: Options, boot_ns: int, write: Callable[[bytes], object]) -> None:
    """Write the samples that are asked for, each as soon as it is taken; ``boot_ns`` is a date in ns since 1970."""
    if not options.plist:
        write(text.header(mac, boot_ns).encode())
    between = b""
    for sample in samples(meters, mac, options.interval_ms, options.count):
        if options.plist:
            write(between + plist.document(mac, sample, options.samplers, boot_ns))
            between = plist.SEPARATOR
        else:
            write(text.block(mac, sample, options.samplers, boot_ns).encode())


def main(
    words: Sequence[str] | None = None,
    environment: Mapping[str, str] = os.environ,
    out: BinaryIO | None = None,
    *,
    uid: int | None = None,
) -> int:
    """Run the tool, as ``uid`` where that is given: its exit status."""
    mac, boot_ns = _told(environment)
    words = sys.argv[1:] if words is None else words
    options = read_options(words) if mac is None else read_options(words, mac.release)
    out = sys.stdout.buffer if out is None else out
    if (os.geteuid() if uid is None else uid) != 0:
        out.write(_REFUSAL)
        out.flush()
        return 1
    if mac is None or DOOR not in environment:
        return _fail("there is no machine: run it by raplica exec MACHINE --as macos -- powermetrics")
    try:
        with Connection(environment[DOOR]) as connection:
            if options.output is None:
                show(DoorMeters(connection), mac, options, boot_ns, _writer(out))
            else:
                with Path(options.output).open("wb") as file:
                    show(DoorMeters(connection), mac, options, boot_ns, _writer(file))
    except Refused as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(f"{error.filename or 'output'}: {error.strerror}")
    return 0


def _told(environment: Mapping[str, str]) -> tuple[Mac | None, int]:
    """What is shown and when it was switched on; no Mac where the environment does not say so, or was changed."""
    try:
        return Mac.from_json(environment[MAC]), int(environment[BOOT])
    except (KeyError, TypeError, ValueError):
        return None, 0


def _writer(file: BinaryIO) -> Callable[[bytes], object]:
    def write(content: bytes) -> None:
        file.write(content)
        file.flush()

    return write


def _fail(line: str) -> int:
    sys.stderr.write(f"powermetrics: {line}\n")
    return 1


def run() -> None:
    """Be the program: with its name, ended by what ends any other, and a sample at each SIGIO."""
    # Held back before anything else: from now on none is lost, and none ends this process.
    signal.pthread_sigmask(signal.SIG_BLOCK, {SAMPLE_NOW})
    signal.signal(SAMPLE_NOW, signal.SIG_DFL)
    for number in (signal.SIGINT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    with suppress(OSError):  # so that pgrep and killall find it by its name
        Path("/proc/self/comm").write_text("powermetrics", encoding="ascii")
    sys.exit(main())


if __name__ == "__main__":
    run()
