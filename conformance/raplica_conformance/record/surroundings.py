# SPDX-License-Identifier: Apache-2.0
"""Who looks, and from inside what: user, capabilities, modules, board, containers and virtual machines.

Half of all reports about missing or unreadable zones are answered here: CAP_SYS_RAWIO is missing, a container hides
devices/virtual/powercap, a hypervisor has no RAPL. Of each file only what decides is kept, not the file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from raplica_conformance.record.places import Places, one_line, read_text
from raplica_fixtures.recording import Hint

__all__ = ["capabilities", "filesystem", "firmware", "hints", "identity", "modules"]

# include/uapi/linux/capability.h: who may pass modes (1, 2), read MSRs (17), and be root altogether (21, 38).
_CAPABILITIES = {
    1: "CAP_DAC_OVERRIDE",
    2: "CAP_DAC_READ_SEARCH",
    17: "CAP_SYS_RAWIO",
    21: "CAP_SYS_ADMIN",
    38: "CAP_PERFMON",
}
_MODULES = (
    *("intel_rapl_common", "intel_rapl_msr", "intel_rapl_tpmi", "intel_rapl", "processor_thermal_rapl"),
    *("dtpm", "idle_inject", "intel_powerclamp", "msr", "rapl"),
)
_BOARD = ("sys_vendor", "product_name", "board_name", "bios_vendor", "bios_version", "bios_date")
_SECRET = ("product_serial", "product_uuid", "board_serial", "chassis_serial")
_ENGINES = re.compile(r"docker|kubepods|libpod|containerd|crio|lxc|machine\.slice|buildkit|garden|ecs")
_COVERED = ("/sys/class/powercap", "/sys/devices/virtual/powercap", "/sys/devices/virtual", "/sys/devices", "/dev/cpu")
_HYPERVISOR = re.compile(r"^flags\s*:.*\bhypervisor\b", flags=re.MULTILINE)
_WHOLE_ID_MAP = ["0", "0", "4294967295"]


def capabilities(proc: Path | None) -> tuple[str, ...]:
    """The effective capabilities of this process that decide about sysfs and MSRs."""
    status = "" if proc is None else read_text(proc / "self/status", lines=True)
    found = re.search(r"^CapEff:\s*([0-9a-fA-F]+)$", status, flags=re.MULTILINE)
    held = int(found[1], 16) if found else 0
    return tuple(name for bit, name in _CAPABILITIES.items() if held >> bit & 1)


def modules(places: Places) -> tuple[str, ...]:
    """Modules of RAPL and powercap that are loaded, or built in with parameters."""
    return tuple(name for name in _MODULES if (places.sys / "module" / name).is_dir())


def firmware(places: Places) -> dict[str, str]:
    """The board and its firmware, as far as everybody may read it."""
    found = {name: places.sys_text(f"class/dmi/id/{name}") for name in _BOARD}
    return {name: text for name, text in found.items() if text}


def filesystem(folder: Path, mounts: str) -> str:
    """The type of the file system that a folder lies in, as /proc/self/mountinfo has it; "" where that does not tell.

    A folder that is not there is looked for in the one above it.
    """
    found = next(place for place in (folder, *folder.parents) if place.exists())
    device = found.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in mounts.splitlines():
        mount, hyphen, what = line.partition(" - ")
        if hyphen and mount.split()[2:3] == [wanted] and what.split():
            return what.split()[0]
    return ""


def identity(places: Places) -> dict[str, str]:
    """What tells one machine and its owner from all others: kept only where somebody asks for it, else removed."""
    found = {
        "host_name": os.uname().nodename,
        "user": _user(),
        "home": os.environ.get("HOME", ""),
        "machine_id": read_text(Path("/etc/machine-id")),
        "boot_id": places.proc_text("sys/kernel/random/boot_id").strip(),
        **{name: places.sys_text(f"class/dmi/id/{name}") for name in _SECRET},
    }
    return {name: text for name, value in found.items() if (text := one_line(value))}


def _user() -> str:
    for name in ("SUDO_USER", "LOGNAME", "USER"):
        if found := os.environ.get(name, ""):
            return found
    return ""


def hints(places: Places, environment: Mapping[str, str], root: Path = Path("/")) -> tuple[Hint, ...]:
    """What tells of a container or a virtual machine around this process, and the file that told it."""
    return tuple(Hint(source, one_line(text)) for source, text in _hints(places, environment, root))


def _hints(places: Places, environment: Mapping[str, str], root: Path) -> Iterator[tuple[str, str]]:
    yield from _of_containers(places, environment, root)
    for line in places.proc_text("self/mountinfo").splitlines():
        # The fifth field is the mount point; the file system's type follows a lone hyphen.
        parts = line.split()
        if len(parts) > 6 and parts[4] in _COVERED and "-" in parts[:-1]:
            yield "/proc/self/mountinfo", f"{parts[parts.index('-') + 1]} is mounted on {parts[4]}"
    yield from _of_machines(places)


def _of_containers(places: Places, environment: Mapping[str, str], root: Path) -> Iterator[tuple[str, str]]:
    for name in (".dockerenv", "run/.containerenv"):
        if (root / name).exists():
            yield f"/{name}", "is there"
    if manager := read_text(root / "run/systemd/container"):
        yield "/run/systemd/container", manager
    if kind := environment.get("container", ""):
        yield "environment", f"container={kind}"
    if "KUBERNETES_SERVICE_HOST" in environment:
        yield "environment", "KUBERNETES_SERVICE_HOST is set"
    # The path holds the container's id, which is nobody's business: only the engine's word is kept.
    if engines := sorted(set(_ENGINES.findall(places.proc_text("self/cgroup")))):
        yield "/proc/self/cgroup", ", ".join(engines)
    if (ids := places.proc_text("self/uid_map").split()) and ids != _WHOLE_ID_MAP:
        yield "/proc/self/uid_map", "a user namespace: owners and capabilities are those in it"


def _of_machines(places: Places) -> Iterator[tuple[str, str]]:
    if "microsoft" in places.proc_text("sys/kernel/osrelease").lower():
        yield "/proc/sys/kernel/osrelease", "Microsoft: the Windows Subsystem for Linux"
    if hypervisor := places.sys_text("hypervisor/type"):
        yield "/sys/hypervisor/type", hypervisor
    if lockdown := re.search(r"\[(\w+)\]", places.sys_text("kernel/security/lockdown")):
        yield "/sys/kernel/security/lockdown", lockdown[1]
    if _HYPERVISOR.search(places.proc_text("cpuinfo")):
        yield "/proc/cpuinfo", "the flag hypervisor: a virtual machine"
