# SPDX-License-Identifier: Apache-2.0
"""A Windows for tests on which one thing is wrong: what a call, a service, a meter or the loader answers."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from raplica_conformance.clause import load_clauses
from raplica_conformance.clauses._windows import KIND, LOADER_KIND, METER_KIND
from raplica_conformance.judge import judge
from raplica_conformance.subjects.windows import SimulatedWindows
from raplica_simulator.windows.io_control import Driver
from raplica_simulator.windows.nt_status import Win32, Win32Error
from raplica_simulator.windows.service_names import ServiceState, ServiceStatus
from raplica_simulator.windows.win32_calls import Completion

CLAUSES = {name: entry for name, entry in load_clauses().items() if entry.kind in (KIND, METER_KIND, LOADER_KIND)}


def verdicts(subject: Any) -> dict[str, str]:
    """What each clause about this kind of subject comes to."""
    return {name: judge(entry, subject).verdict for name, entry in CLAUSES.items() if entry.kind == subject.kind}


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
