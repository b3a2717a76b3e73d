# SPDX-License-Identifier: Apache-2.0
"""A kernel that can be booted: Debian's image, the modules beside it, and our own modules built against its headers.

The full kernels are used and not the "cloud" ones: those have fewer files in power/, no /sys/power/pm_test and
iosf_mbi as a module, and the full ones boot as quickly.
"""

from __future__ import annotations

import lzma
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from kernel_witness.failure import WitnessError, run
from kernel_witness.packages import Archive

__all__ = ["Kernel", "get_kernel"]

_SOURCES = Path(__file__).parent / "modules"
# Those that make powercap trees, and what they need. Not every kernel has every one.
_STOCK = (
    "powercap/intel_rapl_common",
    "powercap/intel_rapl_msr",
    "powercap/intel_rapl_tpmi",
    "platform/x86/intel/intel_vsec",
    "platform/x86/intel/intel_vsec_tpmi",
    "thermal/intel/int340x_thermal/processor_thermal_rapl",
)


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel: its series ("6.12"), its release, the bootable image, and module files by name."""

    series: str
    release: str
    image: Path
    modules: dict[str, bytes]


def get_kernel(archive: Archive, cache: Path, series: str) -> Kernel:
    """Fetch the newest kernel of a series that the archive has, and build our modules for it."""
    escaped = re.escape(series)
    found = archive.search(rf"linux-image-{escaped}[.+-][0-9.+~a-z-]*amd64")
    plain = [name for name in found if not re.search(r"cloud|-rt-|unsigned|dbg|signed", name)]
    if not plain:
        raise WitnessError(
            f"the package sources of this machine have no kernel {series} (linux-image-{series}…-amd64); "
            "leave it out with --kernel, or add a source that has it"
        )
    package = max(plain, key=_version)
    release = package.removeprefix("linux-image-")
    headers = f"linux-headers-{release}"
    packages = [package, headers, *archive.depends(headers, r"linux-headers-.*common|linux-kbuild-.*")]
    root = archive.unpack(packages, f"kernel-{release}")
    stock = _stock_modules(root / "lib" / "modules" / release / "kernel" / "drivers")
    return Kernel(series, release, root / "boot" / f"vmlinuz-{release}", stock | _build(root, release, cache))


def _version(name: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", name))


def _stock_modules(drivers: Path) -> dict[str, bytes]:
    found = {}
    for place in _STOCK:
        plain, packed = drivers / f"{place}.ko", drivers / f"{place}.ko.xz"
        if plain.exists():
            found[plain.stem] = plain.read_bytes()
        elif packed.exists():
            found[plain.stem] = lzma.decompress(packed.read_bytes())
    return found


def _build(root: Path, release: str, cache: Path) -> dict[str, bytes]:
    """Build everything in modules/ outside the source tree."""
    folder = cache / f"modules-{release}"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(_SOURCES, folder)
    headers = _relocated(root, release)
    # The compiler that the kernel was built with is asked for by name; another one does as well.
    named = re.search(r"gcc-\d+", (headers / ".kernelvariables").read_text(encoding="utf-8"))
    compiler = [] if named is None or shutil.which(named[0]) else ["CC=gcc"]
    for command in ("make", "gcc"):
        if shutil.which(command) is None:
            raise WitnessError(f"the witness builds kernel modules, and {command} is not on this machine; install it")
    jobs = f"-j{os.cpu_count() or 1}"
    run(["make", "-s", jobs, "-C", str(headers), f"M={folder}", *compiler, "modules"], f"building for {release}")
    return {path.stem: path.read_bytes() for path in sorted(folder.glob("*.ko"))}


def _relocated(root: Path, release: str) -> Path:
    """Make the headers work where they lie: their Makefile names /usr/src, and BTF needs tools that nobody has."""
    headers = root / "usr" / "src" / f"linux-headers-{release}"
    makefile = headers / "Makefile"
    text = makefile.read_text(encoding="utf-8")
    if "include /usr/src/" in text:
        makefile.write_text(text.replace("include /usr/src/", f"include {root}/usr/src/"), encoding="utf-8")
    (headers / "vmlinux").unlink(missing_ok=True)
    return headers
