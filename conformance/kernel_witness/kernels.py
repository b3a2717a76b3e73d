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
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kernel_witness.failure import WitnessError, run
from kernel_witness.packages import Archive

__all__ = ["Kernel", "choose", "get_kernel"]

_SOURCES = Path(__file__).parent / "modules"
_IMAGE = "linux-image-"
_IMAGES = r"linux-image-[0-9]+\.[0-9]+[.+-][0-9.+~a-z-]*amd64"
_NEXT_RELEASE = ("trixie", "trixie-backports")
_TOOLS = ("base-files", "binutils", "coreutils", "dash", "grep", "make", "mawk", "sed")
# Those that make powercap trees, what they need, and the msr device. Not every kernel has every one.
_STOCK = (
    "drivers/powercap/intel_rapl_common",
    "drivers/powercap/intel_rapl_msr",
    "drivers/powercap/intel_rapl_tpmi",
    "drivers/platform/x86/intel/intel_vsec",
    "drivers/platform/x86/intel/intel_vsec_tpmi",
    "drivers/thermal/intel/int340x_thermal/processor_thermal_rapl",
    "arch/x86/kernel/msr",
)


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel: its series ("6.12"), its release, the bootable image, and module files by name."""

    series: str
    release: str
    image: Path
    modules: dict[str, bytes]


def get_kernel(archive: Archive, series: str) -> Kernel:
    """Fetch the newest kernel of a series, and build our modules for it.

    One that is newer than all that this machine's sources have is looked for in the next release of Debian.
    """
    images = archive.search(_IMAGES)
    newest = max((_version(name)[:2] for name in images), default=())
    if newest and _version(series) > newest:
        return _newer_kernel(archive.newer_release(_NEXT_RELEASE), series)
    release = choose(images, series).removeprefix(_IMAGE)
    headers = f"linux-headers-{release}"
    packages = [_IMAGE + release, headers, *archive.depends(headers, r"linux-headers-.*common|linux-kbuild-.*")]
    root = archive.unpack(packages, f"kernel-{release}")
    stock = _stock_modules(root / "lib" / "modules" / release / "kernel")
    return Kernel(series, release, root / "boot" / f"vmlinuz-{release}", stock | _build(root, release))


def _newer_kernel(archive: Archive, series: str) -> Kernel:
    """The same from another release: its tools do not run here, so everything that builds is unpacked with it."""
    release = choose(archive.search(_IMAGES), series).removeprefix(_IMAGE)
    image = [_IMAGE + release, *archive.depends(_IMAGE + release, r"linux-(binary|modules)-.*")]
    tools = archive.missing_for(f"linux-headers-{release}", *_TOOLS)
    root = archive.unpack([*image, *tools], f"kernel-{release}")
    place = root / "usr" / "lib" / "modules" / release
    stock = _stock_modules(place / "kernel")
    return Kernel(series, release, place / "vmlinuz", stock | _build_inside(root, release))


def choose(packages: Sequence[str], series: str) -> str:
    """Return the newest image of a series; `WitnessError` names the series that there are where it has none."""
    plain = [name for name in packages if not re.search(r"cloud|-rt-|unsigned|dbg", name)]
    by_series: dict[str, list[str]] = {}
    for name in plain:
        by_series.setdefault(".".join(map(str, _version(name)[:2])), []).append(name)
    if series not in by_series:
        have = ", ".join(sorted(by_series, key=_version)) or "no kernel at all"
        raise WitnessError(
            f"the package sources of this machine have no kernel {series}, they have {have}; "
            "name one of those with --kernel, or add a source"
        )
    return max(by_series[series], key=_version)


def _version(name: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", name))


def _stock_modules(modules: Path) -> dict[str, bytes]:
    found = {}
    for place in _STOCK:
        # A file may be called intel-vsec where the module is intel_vsec.
        plain = modules / f"{place}.ko"
        for path in (plain, plain.with_name(plain.name.replace("_", "-", 1))):
            if path.exists():
                found[plain.stem] = path.read_bytes()
            elif (packed := path.with_name(f"{path.name}.xz")).exists():
                found[plain.stem] = lzma.decompress(packed.read_bytes())
    return found


def _build(root: Path, release: str) -> dict[str, bytes]:
    """Build everything in modules/ outside the source tree."""
    headers = _relocated(root, release)
    # The compiler that the kernel was built with is asked for by name; another one does as well.
    named = re.search(r"gcc-\d+", (headers / ".kernelvariables").read_text(encoding="utf-8"))
    compiler = [] if named is None or shutil.which(named[0]) else ["CC=gcc"]
    for command in ("make", "gcc"):
        if shutil.which(command) is None:
            raise WitnessError(f"the witness builds kernel modules, and {command} is not on this machine; install it")
    jobs = f"-j{os.cpu_count() or 1}"
    # A folder of its own for each run: two may share a cache.
    with tempfile.TemporaryDirectory(prefix="witness-") as place:
        folder = Path(shutil.copytree(_SOURCES, Path(place) / "modules"))
        run(["make", "-s", jobs, "-C", str(headers), f"M={folder}", *compiler, "modules"], f"building for {release}")
        return {path.stem: path.read_bytes() for path in sorted(folder.glob("*.ko"))}


def _build_inside(root: Path, release: str) -> dict[str, bytes]:
    """Build with the tools in `root`, which takes the root directory for it; objtool wants /proc."""
    awk = root / "usr" / "bin" / "awk"
    if not awk.is_symlink():
        awk.symlink_to("mawk")
    for command in ("unshare", "chroot"):
        if shutil.which(command) is None:
            raise WitnessError(f"building for {release} takes the tools of its own release, and {command} is not here")
    script = 'mount -t proc proc "$1/proc" && exec chroot "$1" /usr/bin/make -s -C "$2" M="$3" modules'
    spaces = ["--mount", "--pid", "--fork", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    headers = f"/usr/src/linux-headers-{release}"
    with tempfile.TemporaryDirectory(prefix="witness-", dir=root) as place:
        folder = Path(shutil.copytree(_SOURCES, Path(place) / "modules"))
        inside = f"/{folder.relative_to(root)}"
        run(["unshare", *spaces, "sh", "-c", script, "sh", str(root), headers, inside], f"building for {release}")
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
