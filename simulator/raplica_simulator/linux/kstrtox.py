# SPDX-License-Identifier: Apache-2.0
"""How the kernel turns the text of a write into a value (mirrors lib/kstrtox.c).

Every limit, window and switch in sysfs goes through these two functions, and most client bugs on the write side
are about what they accept: one trailing newline is fine, a space is not; ``1garbage`` is a true boolean, ``0x1``
a false one.
"""

import re
from errno import EINVAL

from raplica_simulator.linux.kernel import KERNELS, NEWEST, Kernel

__all__ = ["kstrtobool", "kstrtoull"]

U64_MAX = (1 << 64) - 1

# Base 10, an optional plus, at most one newline at the end.  ``-0`` is refused by the unsigned parser.
_DECIMAL = re.compile(rb"\+?([0-9]+)\n?\Z")


def kstrtoull(text: bytes) -> int:
    """Parse an unsigned 64-bit decimal number as ``kstrtoull(buf, 10)`` does.

    What follows a NUL is not seen.  Raises ``OSError(EINVAL)`` for everything else that is not a number, an
    overflow included: powercap hands every parse error to user space as EINVAL (powercap_sys.c).
    """
    match = _DECIMAL.match(text.split(b"\0", 1)[0])
    # Twenty digits hold 2^64-1; the kernel skips leading zeros without counting them.
    digits = match[1].lstrip(b"0") if match else b""
    if match is None or len(digits) > 20 or (value := int(digits or b"0")) > U64_MAX:
        raise OSError(EINVAL, "not an unsigned 64-bit decimal number")
    return value


def kstrtobool(text: bytes, kernel: Kernel = KERNELS[NEWEST]) -> bool:
    """Parse a boolean as ``kstrtobool`` (once ``strtobool``) does: one or two characters decide, the rest is ignored.

    Which ones do depends on the kernel.  Raises ``OSError(EINVAL)`` when they name neither value.
    """
    first = text[0] if text else 0
    if first in kernel.true_letters:
        return True
    if first in kernel.false_letters:
        return False
    # The second one counts after an o or O alone.
    if first in b"oO" and kernel.knows_on_and_off:
        second = text[1:2]
        if second in (b"n", b"N"):
            return True
        if second in (b"f", b"F"):
            return False
    raise OSError(EINVAL, "not a boolean")
