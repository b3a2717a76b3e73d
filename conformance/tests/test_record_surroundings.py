# SPDX-License-Identifier: Apache-2.0
"""`conformance record`: what surrounds the machine."""

import errno
import importlib.metadata
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from raplica_conformance.record import Wishes, record, surroundings
from raplica_conformance.record.places import Places
from raplica_conformance.subjects.real import RealMachine
from raplica_fixtures.recording import (
    Capture,
    Hint,
    Opens,
)

from .record_files import POWERCAP, files


def test_each_sign_of_a_container_and_of_a_virtual_machine_is_told_with_its_file(
    places: Places, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    files(root, {".dockerenv": "", "run/systemd/container": "podman\n"})
    ident = "0123456789abcdef" * 4
    files(
        tmp_path / "proc",
        {
            "self/cgroup": f"0::/kubepods.slice/cri-containerd-{ident}.scope\n",
            "self/uid_map": "         0       1000          1\n",
            "self/mountinfo": "22 1 0:21 / /sys rw - sysfs sysfs rw\n"
            "99 22 0:55 / /sys/devices/virtual/powercap ro shared:1 - tmpfs tmpfs ro\nshort line\n",
            "sys/kernel/osrelease": "5.15.153.1-microsoft-standard-WSL2\n",
            "cpuinfo": "vendor_id : x\nflags\t\t: fpu hypervisor sse\n",
        },
    )
    files(places.sys, {"hypervisor/type": "xen\n", "kernel/security/lockdown": "none [integrity] confidentiality\n"})
    found = surroundings.hints(places, {"container": "oci", "KUBERNETES_SERVICE_HOST": "10.0.0.1"}, root)
    assert [(hint.source, hint.text) for hint in found] == [
        ("/.dockerenv", "is there"),
        ("/run/systemd/container", "podman"),
        ("environment", "container=oci"),
        ("environment", "KUBERNETES_SERVICE_HOST is set"),
        ("/proc/self/cgroup", "containerd, kubepods"),
        ("/proc/self/uid_map", "a user namespace: owners and capabilities are those in it"),
        ("/proc/self/mountinfo", "tmpfs is mounted on /sys/devices/virtual/powercap"),
        ("/proc/sys/kernel/osrelease", "Microsoft: the Windows Subsystem for Linux"),
        ("/sys/hypervisor/type", "xen"),
        ("/sys/kernel/security/lockdown", "integrity"),
        ("/proc/cpuinfo", "the flag hypervisor: a virtual machine"),
    ]
    assert ident not in repr(found)


def test_a_machine_of_its_own_gives_no_hint(places: Places, tmp_path: Path) -> None:
    files(tmp_path / "proc", {"self/uid_map": "0 0 4294967295\n", "self/cgroup": "0::/user.slice\n"})
    assert surroundings.hints(places, {}, tmp_path) == ()


def test_capabilities_modules_and_board_are_named(places: Places, tmp_path: Path) -> None:
    proc = tmp_path / "proc"
    files(proc, {"self/status": "Name:\tx\nCapEff:\t0000000000020002\n"})
    assert surroundings.capabilities(proc) == ("CAP_DAC_OVERRIDE", "CAP_SYS_RAWIO")
    assert surroundings.capabilities(None) == ()
    (places.sys / "module/intel_rapl_msr").mkdir(parents=True)
    assert surroundings.modules(places) == ("intel_rapl_msr",)
    files(places.sys, {"class/dmi/id/product_name": " A  board\n", "class/dmi/id/product_serial": "S1\n"})
    assert surroundings.firmware(places) == {"product_name": "A board"}


def test_the_file_system_of_a_tree_is_that_of_its_device(tmp_path: Path) -> None:
    device = tmp_path.stat().st_dev
    mounts = (
        "9 1 999:1 / /other rw - xfs /dev/x rw\n"
        f"8 1 {os.major(device)}:{os.minor(device)} / / rw shared:1 - ext4 /dev/y rw\nno line of this kind\n"
    )
    assert surroundings.filesystem(tmp_path / "not/there", mounts) == "ext4"
    assert surroundings.filesystem(tmp_path, "") == ""
    assert [Capture("x", 0, filesystem=kind).is_of_a_copy for kind in ("sysfs", "fuse.raplica", "ext4", "")] == [
        False,
        False,
        True,
        True,
    ]


def test_nobody_is_named_where_the_environment_names_nobody(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SUDO_USER", "LOGNAME", "USER", "HOME"):
        monkeypatch.delenv(name, raising=False)
    assert not {"user", "home"} & surroundings.identity(places).keys()


@contextmanager
def silent(_what: str) -> Iterator[Callable[[float], None]]:
    yield lambda _part: None


def test_this_machines_recording_has_its_running_kernel_and_what_surrounds_it(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    files(places.sys, {f"{POWERCAP}/intel-rapl/intel-rapl:0/name": "package-0\n"})
    monkeypatch.setattr(platform, "release", lambda: "6.1.0-35-amd64")
    monkeypatch.setattr(platform, "version", lambda: "#1 SMP  Debian")
    monkeypatch.setenv("container", "oci")

    def unknown(_name: str) -> str:
        raise importlib.metadata.PackageNotFoundError

    monkeypatch.setattr(importlib.metadata, "version", unknown)
    found = record(places, Wishes(), silent)
    assert (found.kernel, found.kernel_full, found.kernel_release) == ("6.1", "6.1.0", "6.1.0-35-amd64")
    assert found.kernel_build == "#1 SMP Debian"
    assert found.capture is not None
    assert Hint("environment", "container=oci") in found.capture.hints
    assert found.capture.program == "conformance record"


def test_where_nobody_can_become_nobody_it_is_not_known_what_nobody_may_open(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    files(places.sys, {f"{POWERCAP}/intel-rapl/name": "x\n"})

    def refuse(*_: object) -> int:
        raise OSError(errno.EPIPE, "the child ended")

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(RealMachine, "open_errno", refuse)
    opens = record(places, Wishes(kernel="6.12"), silent).tree[f"{POWERCAP}/intel-rapl/name"].opens
    assert opens == Opens(root_read=0)
