# SPDX-License-Identifier: Apache-2.0
"""Say in one line what is wrong with a source of Windows as a whole, and what to do."""

import errno

from raplica_reader.files import errno_name

__all__ = ["absent", "empty"]

NO_METER = "Windows shows no energy meter (it does from Windows 11 on, and not in virtual machines)"
START = "install the Scaphandre driver for Windows and start it with `sc start ScaphandreDrv`"
DRIVER = {
    "ENOENT": f"the Scaphandre driver does not run: {START}",
    "EACCES": "the Scaphandre driver lets nobody in but administrators: run as one",
    "ENXIO": "this processor has no energy registers",
    "EBADMSG": "the Scaphandre driver answers something that is no register",
}


def absent(name: str, error: OSError) -> str:
    """About the source `name`, "emi" or "scaphandre", that cannot be looked at."""
    said = error.strerror or str(error)
    if error.errno == errno.ECONNREFUSED:
        return f"{error.filename}: {said}; name the socket of a `raplica serve-windows` that is yours and runs"
    if name == "emi":
        return f"the energy meters of Windows cannot be read: {said} ({errno_name(error)})"
    known = DRIVER.get(errno_name(error))
    return f"{known} ({errno_name(error)})" if known else f"the Scaphandre driver cannot be read: {said}"


def empty(name: str) -> str:
    """About a source that is there and has no zones."""
    if name == "emi":
        return NO_METER
    return "the registers behind the Scaphandre driver count no energy (usual in a virtual machine)"
