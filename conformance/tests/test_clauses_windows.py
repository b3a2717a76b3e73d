# SPDX-License-Identifier: Apache-2.0
"""The clauses about drivers, meters and the driver's loader: they hold on simulated Windows, and each has teeth."""

from __future__ import annotations

import struct
import tomllib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from raplica_conformance.clause import load_clauses
from raplica_conformance.clauses import _windows_versions
from raplica_conformance.clauses._windows import KIND, LOADER_KIND, METER_KIND
from raplica_conformance.cli import main
from raplica_conformance.gather import GatherError, Request, gather
from raplica_conformance.judge import judge
from raplica_conformance.subjects.windows import DEFAULT, SimulatedWindows, WindowsRun, driver_names
from raplica_simulator.windows.io_control import Driver, FileObject, Irp, Security
from raplica_simulator.windows.kernel import Kernel
from raplica_simulator.windows.nt_status import BugCheck, NtError, NtStatus, Win32, Win32Error
from raplica_simulator.windows.processors import Processor
from raplica_simulator.windows.scaphandre_driver import ScaphandreDriver
from raplica_simulator.windows.scaphandre_versions import VERSIONS, Defect
from raplica_simulator.windows.service_names import Accepted, ServiceState, ServiceStatus
from raplica_simulator.windows.win32_calls import Completion

FAILS: dict[str, list[str]] = tomllib.loads(Path(__file__).with_name("windows_lies.toml").read_text())
CLAUSES = {name: entry for name, entry in load_clauses().items() if entry.kind in (KIND, METER_KIND, LOADER_KIND)}


def verdicts(subject: Any) -> dict[str, str]:
    """What each clause about this kind of subject comes to."""
    return {name: judge(entry, subject).verdict for name, entry in CLAUSES.items() if entry.kind == subject.kind}


# AMD in two packages of one group where that makes a difference: what takes a CPU, what knows vendors, the meters.
ON_AMD = (
    "v1",
    "v2-8-open",
    "v2-8-allow",
    "v3",
    "v3.1",
    "v3.1-mended",
    "v3.2",
    "v3.2-mended",
    "emi-amd",
    "emi-mirrored",
)


@pytest.mark.slow
@pytest.mark.parametrize(
    "wanted", [*(f"kabylake:{one}" for one in driver_names()), *(f"zen2-epyc-2s:{one}" for one in ON_AMD)]
)
def test_every_clause_holds_or_is_not_about_it(wanted: str) -> None:
    found = verdicts(SimulatedWindows(wanted))
    assert set(found.values()) <= {"pass", "not-applicable"}, found


def test_each_clause_is_about_one_of_the_default_subjects_at_least() -> None:
    held = {name for one in DEFAULT for name, word in verdicts(SimulatedWindows(one)).items() if word == "pass"}
    # Mirrored meters, and answers of versions that nobody ran, are not in the default set.
    assert set(CLAUSES) - held == {"windows.meter.mirrors", "windows.register.nothing"}
    assert "pass" in verdicts(SimulatedWindows("kabylake:emi-mirrored")).values()


def test_the_suite_knows_every_version_by_itself() -> None:
    assert list(_windows_versions.PROTOCOLS) == list(VERSIONS)


def test_of_a_version_that_nobody_knows_nothing_is_judged() -> None:
    found = verdicts(Lying(version="v9"))
    assert Counter(found.values())["fail"] == 0
    assert found["windows.register.listed"] == "not-applicable"


# What is wrong, and which clauses see it.


@dataclass
class Lying:
    """A Windows on which one thing is wrong: the driver, or what a call answers."""

    on: str = "kabylake:v3.2"
    make: Callable[[], Driver] | None = None
    version: str | None = None
    calls: dict[str, Callable[..., Any]] = field(default_factory=dict)
    services: dict[str, Callable[..., Any]] = field(default_factory=dict)
    run: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._subject = SimulatedWindows(self.on)
        self.kind, self.name, self.kernel, self.can = self._subject.kind, "lying", None, frozenset[str]()

    def fresh(self) -> Any:
        windows = self._subject.fresh()
        if self.make is not None:
            windows._make = self.make  # type: ignore[method-assign]
        if self.version is not None:
            windows.version = self.version
        if not (self.calls or self.services or self.run):
            return windows
        return Changed(windows, {"process": lambda own, **named: self._process(own(**named)), **self.run})

    def _process(self, process: Any) -> Any:
        return Changed(process, {**self.calls, "services": Changed(process.services, self.services)})


class Changed:
    """An object some of whose calls are answered by something else, which is given the call itself first."""

    def __init__(self, target: Any, changes: dict[str, Any]) -> None:
        self._target, self._changes = target, changes

    def __getattr__(self, name: str) -> Any:
        if name not in self._changes:
            return getattr(self._target, name)
        change = self._changes[name]
        if not callable(change):
            return change
        return lambda *given, **named: change(getattr(self._target, name), *given, **named)


def granted(done: Completion) -> Completion:
    """A request that was refused, as one that brought nothing."""
    return Completion(True, 0, 0, done.output) if done.error == 1 else done


def refuses(error: Win32) -> Callable[..., Any]:
    def call(*_given: Any, **_named: Any) -> Any:
        raise Win32Error(error, "a lie")

    return call


def instead(wrong: int, right: int) -> Callable[..., Any]:
    """Another error in place of one."""

    def call(own: Callable[..., Any], *given: Any, **named: Any) -> Any:
        try:
            return own(*given, **named)
        except Win32Error as error:
            raise Win32Error(right if error.winerror == wrong else error.winerror, "a lie") from None

    return call


def forgives(*errors: int, gives: object = None) -> Callable[..., Any]:
    """Success where there should be one of these errors."""

    def call(own: Callable[..., Any], *given: Any, **named: Any) -> Any:
        try:
            return own(*given, **named)
        except Win32Error as error:
            if error.winerror in errors:
                return gives
            raise

    return call


def ends(change: Callable[[Completion], Completion]) -> Callable[..., Any]:
    """Another ending of each request."""
    return lambda own, *given, **named: change(own(*given, **named))


def told(**changes: Any) -> Callable[..., Any]:
    """Another status of the service."""

    def call(own: Callable[..., ServiceStatus], *given: Any) -> ServiceStatus:
        return replace(own(*given), **changes)

    return call


def v32(**named: Any) -> Callable[[], Driver]:
    return lambda: ScaphandreDriver("v3.2", **named)


def without(*defects: Defect, version: str = "v3.2") -> Callable[[], Driver]:
    return lambda: ScaphandreDriver(version, defects=VERSIONS[version].defects - set(defects))


class Private(ScaphandreDriver):
    """Lets administrators in only."""

    def entry(self, kernel: Kernel) -> int:
        status = super().entry(kernel)
        assert self._device is not None
        self._device.security = Security(everyone=0)
        return status


class Cached(ScaphandreDriver):
    """Keeps what it read once."""

    def __init__(self, version: str = "v3.2", **named: Any) -> None:
        super().__init__(version, **named)
        self.known: dict[int, int] = {}

    def _read(self, irp: Irp, register: int) -> int:
        return self.known.setdefault(register, super()._read(irp, register))


class Half(ScaphandreDriver):
    """Hands out 32 bits."""

    def _read(self, irp: Irp, register: int) -> int:
        return super()._read(irp, register) & 0xFFFFFFFF


class ByCode(ScaphandreDriver):
    """Takes one control code."""

    def device_control(self, irp: Irp) -> None:
        if irp.code.function not in (0x611, 0xBED, 0x606, 0x800, 0xFFF, 0xBEB):
            irp.refuse(NtStatus.INVALID_DEVICE_REQUEST)
        else:
            super().device_control(irp)


class Busy(ScaphandreDriver):
    """Lets one handle in at a time."""

    def create(self, file: FileObject) -> int:
        if file.device is not None and file.device.open_handles:
            return NtStatus.ACCESS_DENIED
        return super().create(file)


class EmptyMask(ScaphandreDriver):
    """Its affinity mask is empty."""

    def _mask(self, processor: Processor) -> int:  # noqa: ARG002 - as it is called
        return 0


class NoClamp(ScaphandreDriver):
    """Refuses a processor beyond the last one."""

    def _read_on(self, irp: Irp, register: int, index: int) -> int:
        if index >= self._maximum:
            raise NtError(NtStatus.INVALID_PARAMETER, f"CPU {index}")
        return super()._read_on(irp, register, index)


class NoTests(ScaphandreDriver):
    """Answers the registers for tests with 0."""

    def _answer_by_input(self, irp: Irp) -> None:
        if irp.input[:4] in (b"\1\0\0\0", b"\2\0\0\0", b"\3\0\0\0"):
            irp.answer(bytes(8))
        else:
            super()._answer_by_input(irp)


class FourFunctions(ScaphandreDriver):
    """Version 1 with a function for the memory."""

    def device_control(self, irp: Irp) -> None:
        if irp.code.function == 0xBEE:
            irp.information = 8
        else:
            super().device_control(irp)


class Elsewhere(ScaphandreDriver):
    """Reads on the first processor, wherever its caller runs."""

    def _read(self, irp: Irp, register: int) -> int:  # noqa: ARG002 - as it is called
        return self._running().read_msr(0, register)


class Survives(ScaphandreDriver):
    """Comes back by itself from what stops others."""

    def _read(self, irp: Irp, register: int) -> int:
        try:
            return super()._read(irp, register)
        except BugCheck:
            self._running().crashed = None
            raise


def told_of(code: int, change: Callable[[bytes], bytes]) -> Callable[..., Any]:
    """Another answer to one request."""

    def call(own: Callable[..., Completion], *given: Any) -> Completion:
        done = own(*given)
        if given[1] != code or not done.ok:
            return done
        content = change(done.output[: done.returned])
        room = len(done.output)
        return replace(done, returned=len(content), output=content.ljust(room, b"\xcc")[:room])

    return call


def metadata(before: bytes, after: bytes) -> Callable[..., Any]:
    return told_of(0x224008, lambda content: content.replace(before, after))


def utf16(text: str) -> bytes:
    return text.encode("utf-16-le")


def measured(*, times: bool = False, factor: int = 1, modulus: int = 1 << 64) -> Callable[..., Any]:
    """Measurements with other energies, or with a time for each channel."""

    def change(content: bytes) -> bytes:
        words = list(struct.unpack(f"<{len(content) // 8}Q", content))
        words[0::2] = [factor * one % modulus for one in words[0::2]]
        words[1::2] = [one + number * times for number, one in enumerate(words[1::2])]
        return struct.pack(f"<{len(words)}Q", *words)

    return told_of(0x22400C, change)


def drifting() -> Callable[..., Any]:
    """Each measurement shows a little more."""
    passed = iter(range(1 << 30))

    def change(content: bytes) -> bytes:
        return (int.from_bytes(content[:8], "little") + next(passed)).to_bytes(8, "little") + content[8:]

    return told_of(0x22400C, change)


def partly(own: Callable[..., Completion], handle: int, code: int, data: bytes | None, size: int) -> Completion:
    """What fits of an answer."""
    done = own(handle, code, data, size)
    whole = own(handle, code, data, 4096)
    return done if done.ok or not whole.ok else replace(whole, ok=False, error=122, output=whole.output[:size])


def stopped(own: Callable[..., ServiceStatus], handle: int) -> ServiceStatus:
    """A driver that is to stop has stopped."""
    status = own(handle)
    return replace(status, state=ServiceState.STOPPED) if status.state == ServiceState.STOP_PENDING else status


def sign_now(own: Callable[..., Any], *, on: bool) -> None:
    """Test signing is in force at once."""
    own(on=on)
    own.__self__.system.test_signing = on  # type: ignore[attr-defined]


def boots_bare(own: Callable[[], None]) -> None:
    """A boot after which no driver runs."""
    own()
    system = own.__self__.system  # type: ignore[attr-defined]
    for driver in system.kernel.drivers:
        system.unload(driver)


def ended(*, status: int | None = None, box: bool | None = None, say: Callable[[str], str] = str) -> Callable[..., Any]:
    """Another ending of the loader."""

    def call(own: Callable[..., tuple[int, str, bool]], *words: str, **named: Any) -> tuple[int, str, bool]:
        code, said, boxed = own(*words, **named)
        return code if status is None else status, say(said), boxed if box is None else box

    return call


EMI, V1, LOADER = "kabylake:emi", "kabylake:v1", "kabylake:loader"
V2_4, OPEN, ZEN = "kabylake:v2-4", "kabylake:v2-8-open", "zen2-epyc-2s:v3.2"

# The clauses that fail of each stand in windows_lies.toml.
LIES: dict[str, Lying] = {
    # The driver is another one.
    "it has its old name": Lying(make=v32(device="RAPLDriver"), run={"device": "RAPLDriver"}),
    "it goes to the right CPU": Lying(ZEN, make=without(Defect.AFFINITY_MASK)),
    "its mask is empty": Lying(ZEN, make=lambda: EmptyMask("v3.2")),
    "one that is mended has the wrong mask": Lying(
        f"{ZEN}-mended", make=lambda: ScaphandreDriver("v3.2", defects=[Defect.AFFINITY_MASK])
    ),
    "it goes back after a fault": Lying("skylake-sp-2s:v3.2", make=without(Defect.AFFINITY_KEPT)),
    "it refuses a CPU that is not there": Lying(ZEN, make=NoClamp),
    "it refuses short buffers": Lying(make=without(Defect.SHORT_OUTPUT)),
    "it refuses other methods": Lying(make=without(Defect.ANY_METHOD)),
    "it has no guard": Lying(
        make=lambda: ScaphandreDriver("v3.2", defects=VERSIONS["v3.2"].defects | {Defect.NO_GUARD})
    ),
    "an old one has a guard": Lying(OPEN, make=without(Defect.NO_GUARD, version="v2-8-open")),
    "it has no list": Lying(make=lambda: ScaphandreDriver("v2-8-open")),
    "one without a list has a list": Lying(OPEN, make=lambda: ScaphandreDriver("v2-8-allow")),
    "the platform is not on its list": Lying(make=lambda: ScaphandreDriver("v3")),
    "it takes 4 bytes": Lying(make=lambda: ScaphandreDriver("v2-4", device="ScaphandreDriver")),
    "the version of 4 bytes takes 8": Lying(V2_4, make=lambda: ScaphandreDriver("v2-8")),
    "the registers for tests are gone": Lying(V2_4, make=lambda: NoTests("v2-4")),
    "it goes by control codes": Lying(make=ByCode),
    "version 1 has a fourth function": Lying(V1, make=lambda: FourFunctions("v1")),
    "version 1 wants a short buffer to be longer": Lying(V1, make=without(Defect.SHORT_OUTPUT, version="v1")),
    "it reads on the first processor": Lying("zen2-epyc-2s:v2-8", make=lambda: Elsewhere("v2-8")),
    "it keeps what it read": Lying(make=Cached),
    "it hands out half of a register": Lying(make=Half),
    "what came before version 1 reads": Lying("kabylake:v0-unit", make=lambda: ScaphandreDriver("v1")),
    "it lets administrators in only": Lying(make=Private),
    "it lets one in at a time": Lying(make=Busy),
    "a machine that stopped goes on": Lying(OPEN, make=lambda: Survives("v2-8-open")),
    # Windows itself.
    "rights do not count": Lying(calls={"create_file": lambda own, path, access: own(path, access or 0x80000000)}),
    "a device that is not there is another error": Lying(calls={"create_file": instead(2, 161)}),
    "a closed handle is denied": Lying(
        calls={"device_io_control": ends(lambda done: replace(done, error=5) if done.error == 6 else done)}
    ),
    "a closed handle can be closed": Lying(calls={"close_handle": forgives(6)}),
    "a failure clears the count": Lying(
        calls={"device_io_control": ends(lambda done: done if done.ok else replace(done, returned=0))}
    ),
    "a failure clears the buffer": Lying(
        calls={"device_io_control": ends(lambda done: done if done.ok else replace(done, output=bytes(8)))}
    ),
    # The service control manager.
    "a service that was never started has no exit code": Lying(
        services={"query_service_status": told(win32_exit_code=0)}
    ),
    "a driver takes a pause": Lying(services={"query_service_status": told(controls_accepted=Accepted(3))}),
    "a second start is none": Lying(services={"start_service": forgives(1056)}),
    "a stopped service can be asked": Lying(services={"control_service": forgives(1062)}),
    "a name may be taken twice": Lying(services={"create_service": forgives(1073, gives=0)}),
    "a shown name may be taken twice": Lying(services={"create_service": forgives(1078, gives=0)}),
    "an unknown service is another error": Lying(services={"open_service": instead(1060, 2)}),
    "a deletion may be repeated": Lying(services={"delete_service": forgives(1072)}),
    "a service that is marked can be started": Lying(services={"start_service": forgives(1072)}),
    "a stop does not wait for handles": Lying(services={"query_service_status": stopped}),
    "a disabled service can be started": Lying(services={"start_service": forgives(1058)}),
    "anybody is an administrator": Lying(
        run={"process": lambda own, *, cpu=0, **_named: own(administrator=True, cpu=cpu)}
    ),
    "any signature will do": Lying(run={"place": lambda own, path, corrupt=False, **_: own(path, corrupt=corrupt)}),
    "test signing needs no boot": Lying(run={"set_test_signing": sign_now}),
    "any image will do": Lying(run={"place": lambda own, path, signature="valid", **_: own(path, signature=signature)}),
    "a missing image is a bad one": Lying(services={"start_service": instead(2, 193)}),
    "a boot starts nothing": Lying(run={"reboot": boots_bare}),
    # The meters.
    "only administrators open meters": Lying(EMI, calls={"create_file": refuses(Win32.ACCESS_DENIED)}),
    "the version has 4 bytes": Lying(EMI, calls={"device_io_control": told_of(0x224000, lambda old: old + b"\0\0")}),
    "the version is 3": Lying(EMI, calls={"device_io_control": told_of(0x224000, lambda _: b"\3\0")}),
    "the size is that of one channel": Lying(
        EMI, calls={"device_io_control": told_of(0x224004, lambda _: b"\x68\0\0\0")}
    ),
    "the size has 8 bytes": Lying(EMI, calls={"device_io_control": told_of(0x224004, lambda old: old + bytes(4))}),
    "the unit is a joule": Lying(EMI, calls={"device_io_control": metadata(b"\0\0\0\0\x24\0", b"\1\0\0\0\x24\0")}),
    "names have no NUL": Lying(EMI, calls={"device_io_control": metadata(utf16("_PKG\0"), utf16("_PKG "))}),
    "a channel is the sum of all": Lying(
        EMI,
        calls={"device_io_control": metadata(utf16("RAPL_Package0_DRAM"), utf16("_Total\0\0\0\0\0\0\0\0\0\0\0\0"))},
    ),
    "a core is beside its package": Lying(
        EMI, calls={"device_io_control": metadata(utf16("RAPL_Package0_DRAM"), utf16("RAPL_Package0_CORE"))}
    ),
    "a measurement has half of the channels": Lying(
        EMI, calls={"device_io_control": told_of(0x22400C, lambda old: old[: len(old) // 2])}
    ),
    "times differ": Lying(EMI, calls={"device_io_control": measured(times=True)}),
    "energies are twice what was spent": Lying(EMI, calls={"device_io_control": measured(factor=2)}),
    "energies wrap at 32 bits": Lying(EMI, calls={"device_io_control": measured(modulus=1 << 44)}),
    "the mirrors differ": Lying("kabylake:emi-mirrored", calls={"device_io_control": drifting()}),
    "a short buffer gets a part": Lying(EMI, calls={"device_io_control": partly}),
    "requests need no rights": Lying(EMI, calls={"create_file": lambda own, path, _access: own(path, 0x80000000)}),
    "unknown requests succeed": Lying(
        EMI,
        calls={"device_io_control": ends(granted)},
    ),
    # The loader.
    "it opens no box": Lying(LOADER, run={"loader": ended(box=False)}),
    "it always ends well": Lying(LOADER, run={"loader": ended(status=0)}),
    "it says that it stopped": Lying(LOADER, run={"loader": ended(say=lambda text: text.replace("started", "is"))}),
    "it does not blame the signature": Lying(
        LOADER, run={"loader": ended(say=lambda text: text.replace("sign", "sing"))}
    ),
    "it has no usage": Lying(
        LOADER,
        run={"loader": ended(say=lambda text: text.replace("Usage", "")[:5])},
    ),
    "it tells of its success": Lying(LOADER, run={"loader": ended(say=lambda text: text or "done\n")}),
}


@pytest.mark.slow
@pytest.mark.parametrize("title", LIES)
def test_what_is_wrong_fails_these_clauses_and_no_others(title: str) -> None:
    found = verdicts(LIES[title])
    assert sorted(name for name, word in found.items() if word == "fail") == FAILS[title]
    assert set(found.values()) <= {"pass", "fail", "not-applicable"}


def test_every_clause_fails_somewhere() -> None:
    assert set(FAILS) == set(LIES)
    assert {name for fails in FAILS.values() for name in fails} == set(CLAUSES)


def test_the_command_judges_a_named_windows_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended_with:
        main(["run", "windows.client.*", "--windows", "kabylake:v3.2", "--windows", "kabylake:v3.2"])
    assert ended_with.value.code == 0
    assert "9 clauses on 1 subject: 9 pass" in capsys.readouterr().out


def test_without_a_subject_each_kind_of_driver_is_judged() -> None:
    names = [one.name for one in gather(Request()).subjects]
    assert [name for name in names if name.startswith("windows:")] == [f"windows:{one}" for one in DEFAULT]
    assert not [one for one in gather(Request(kernel="6.12")).subjects if one.name.startswith("windows:")]


@pytest.mark.parametrize("wanted", ["kabylake", "kabylake:v9", "nowhere:v3.2", ""])
def test_a_windows_that_there_is_not_is_told_in_one_line(wanted: str) -> None:
    with pytest.raises(GatherError) as told_in:
        gather(Request(windows=(wanted,)))
    assert "\n" not in str(told_in.value)
    assert "MACHINE:DRIVER" in str(told_in.value) or "nowhere" in str(told_in.value)


def test_a_kernel_of_linux_is_refused_beside_a_windows_or_a_mac_alone() -> None:
    for request in (Request(windows=("kabylake:v3.2",), kernel="6.12"), Request(powermetrics=("x",), kernel="6.12")):
        with pytest.raises(GatherError, match="--kernel is one of Linux"):
            gather(request)


def test_what_a_subject_cannot_say_of_itself_is_an_error_of_the_suite() -> None:
    class Broken(WindowsRun):
        def run(self) -> None:
            raise FileNotFoundError("no machine")

    lying = Lying(make=ScaphandreDriver)
    lying.fresh = lambda: Broken(lying._subject._profile, "v3.2")  # type: ignore[method-assign]
    assert set(verdicts(lying).values()) & {"broken"}
