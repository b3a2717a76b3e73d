# SPDX-License-Identifier: Apache-2.0
"""Say in one line which counters could not be read, and what to do about it."""

from collections.abc import Sequence

from raplica_reader.step import CANNOT_BE, MORE_TURNS, RESET
from raplica_reader.zone import Zone

__all__ = ["trouble"]

POWERCAP = {
    "EACCES": "run as root: {sysfs}/class/powercap/*/energy_uj is closed to others, "
    "since it reveals what programs compute",
    "ENOENT": "the class lists zones whose directories are not there, as in a container that hides "
    "{sysfs}/devices/virtual/powercap: mount that directory into it",
    "EXDEV": "the links lead out of {sysfs}: give the root that they belong to with --sysfs",
    "ENODATA": "the file is empty: in a written tree this stands for a counter that could not be read",
    "EINVAL": "the kernel could not read the counter's register",
    "ENODEV": "the zone came or went in the meantime",
}
PERF = {
    "EACCES": "run as root or with CAP_PERFMON, or set kernel.perf_event_paranoid to 0",
    "EPERM": "run as root or with CAP_PERFMON; a container's seccomp rules may forbid perf_event_open too",
    "ENOENT": "the kernel has no such PMU: is {sysfs} this machine's?",
    "ENODEV": "the CPU that counts is not there: is {sysfs} this machine's?",
    "ENOSYS": "this kernel has no perf events",
}
MSR = {
    "EACCES": "run as root: {dev}/cpu/*/msr is closed to others",
    "EPERM": "run with CAP_SYS_RAWIO, which {dev}/cpu/*/msr asks for besides root",
    "ENOENT": "load the module: `modprobe msr`",
    "ENXIO": "the CPUs of that package are offline",
    "EIO": "the register cannot be read on this processor",
    "ENODEV": "the CPUs of that package came or went in the meantime",
}
POWERMETRICS = {
    "EPERM": "run as root: powermetrics refuses everybody else",
    "ESRCH": "powermetrics has ended: start the reading again",
    "ETIMEDOUT": "powermetrics takes no sample when it is told to: look whether it runs by itself",
    "EBADMSG": "what powermetrics prints is not understood: try `powermetrics -f plist -n 1` and report it",
    "ENODATA": "powermetrics shows no energy: a virtual machine has none",
}
UNANSWERED = "nobody answers at the socket any more: start `raplica serve-windows` again"
EMI = {
    "EACCES": "Windows lets nobody read its energy meters here",
    "ENODEV": "the energy meter came or went in the meantime, or has other channels now: read again",
    "ENOENT": "the energy meter is gone: look for it again with `raplica-reader list`",
    "EIO": "the processor's driver could not read the counter",
    "EBADMSG": "the energy meter answers something that is no measurement",
    "ECONNREFUSED": UNANSWERED,
}
SCAPHANDRE = {
    "EACCES": "the Scaphandre driver lets nobody in but administrators: run as one",
    "EBADF": "the Scaphandre driver was stopped: start it with `sc start ScaphandreDrv`",
    "ENOENT": "the Scaphandre driver does not run: start it with `sc start ScaphandreDrv`",
    "EIO": "the driver refuses the register, or it cannot be read on this processor",
    "ENXIO": "Windows has no such CPU",
    "EBADMSG": "the driver answers something that is no register",
    "ECONNREFUSED": UNANSWERED,
}
ANY = {
    CANNOT_BE: "a counter went backward or stands where max_energy_range_uj says that it cannot: read again",
    MORE_TURNS: "in that time a counter can have started again more than once: read more often",
    RESET: "a counter was set to another value (suspend, firmware), or draws more than is thought possible: "
    "read again, or say what is possible with --max-power",
}
BY_SOURCE = {
    "powercap": POWERCAP,
    "perf": PERF,
    "msr": MSR,
    "powermetrics": POWERMETRICS,
    "emi": EMI,
    "scaphandre": SCAPHANDRE,
}
NOTHING_KNOWN = {"powercap": "look at the file energy_uj of the zone"}


def trouble(source: str, sysfs: str, dev: str, zones: Sequence[Zone], errors: Sequence[str | None]) -> str | None:
    """One line about the zones that could not be read; None when all could. `errors` are theirs, in their order."""
    failed = [(zone, error) for zone, error in zip(zones, errors, strict=True) if error is not None]
    if not failed:
        return None
    kinds = sorted({error for _, error in failed})
    where = failed[0][0].path if len(failed) == 1 else f"{len(failed)} of {len(zones)} zones"
    nothing_known = NOTHING_KNOWN.get(source, "`raplica-reader list --why` says where it is read")
    advice = (ANY | BY_SOURCE.get(source, {})).get(kinds[0], nothing_known)
    advice = advice.format(sysfs=sysfs.rstrip("/"), dev=dev.rstrip("/"))
    return f"energy of {where} is unknown ({', '.join(kinds)}): {advice}"
