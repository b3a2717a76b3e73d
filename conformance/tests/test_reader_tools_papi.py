# SPDX-License-Identifier: Apache-2.0
"""The driver of PAPI, with a library of its interface."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from raplica_conformance.readers.tools import papi

from .stand_in import answers, energies


class Papi:
    """libpapi, as far as it is called: two components, and a count that goes up by 1000 at each read."""

    def __init__(self, **refused: int) -> None:
        self.refused = refused
        self.added: list[str] = []
        self.reads = 0
        self.events: list[tuple[str, str]] = []
        self.PAPI_strerror = lambda _status: b"Invalid argument"

    def PAPI_get_opt(self, option: int, _pointer: object) -> int:  # noqa: N802 - PAPI's own names
        assert option == 21
        return 0x07030000

    def PAPI_library_init(self, version: int) -> int:  # noqa: N802
        return self.refused.get("PAPI_library_init", version)

    def PAPI_get_component_index(self, name: bytes) -> int:  # noqa: N802
        events = {
            b"powercap": [
                ("powercap:::ENERGY_UJ:ZONE0", ""),
                ("powercap:::ENERGY_UJ:ZONE0_SUBZONE1", ""),
                ("powercap:::NAME:ZONE0_SUBZONE1", "dram\n"),
                ("powercap:::ENABLED:ZONE0", ""),
            ],
            b"rapl": [
                ("rapl:::PACKAGE_ENERGY:PACKAGE1", "Energy"),
                ("rapl:::PP0_ENERGY:PACKAGE1", "Energy"),
                ("rapl:::PSYS_ENERGY:PACKAGE0", "Energy"),
                ("rapl:::PACKAGE_ENERGY_CNT:PACKAGE1", "Energy in counts"),
            ],
        }
        self.events = self.refused.get("events", events[name])  # type: ignore[assignment]
        return self.refused.get(name.decode(), 2)

    def PAPI_enum_cmp_event(self, code: Any, way: int, index: int) -> int:  # noqa: N802
        assert index == 2
        code._obj.value = 0x40000000 if way == 1 else code._obj.value + 1
        return 0 if code._obj.value - 0x40000000 < len(self.events) else -7

    def PAPI_get_event_info(self, code: Any, info: Any) -> int:  # noqa: N802
        name, description = self.events[code.value - 0x40000000]
        info._obj.symbol, info._obj.long_descr = name.encode(), description.encode()
        return 0

    def PAPI_create_eventset(self, _handle: object) -> int:  # noqa: N802
        return 0

    def PAPI_add_named_event(self, _handle: object, name: bytes) -> int:  # noqa: N802
        self.added.append(name.decode())
        return self.refused.get("PAPI_add_named_event", 0)

    def PAPI_start(self, _handle: object) -> int:  # noqa: N802
        return 0

    def PAPI_read(self, _handle: object, values: Any) -> int:  # noqa: N802
        self.reads += 1
        for place in range(len(self.added)):
            values[place] = self.reads * 1000 * (place + 1)
        return self.refused.get("PAPI_read", 0)


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("component", "said"),
    [
        ("powercap", {"package-0": 2000, "package-0/dram": 4000}),
        ("rapl", {"package-1": 2, "package-1/core": 4, "psys": 6}),
    ],
)
def test_papi_counts_every_energy_of_a_component_in_one_set(
    component: str,
    said: dict[str, int],
    asked: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(papi, "library", Papi)
    asked("start", "sample", "sample", "stop")
    assert papi.main(component) == 0
    first, _, third, _ = answers(capsys)
    assert energies(first) == dict.fromkeys(said, 0)
    assert energies(third) == said


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("refused", "why"),
    [
        ({"PAPI_add_named_event": -7}, "PAPI_add_named_event powercap:::ENERGY_UJ:ZONE0: Invalid argument"),
        ({"powercap": -17}, "this PAPI has no component powercap: build PAPI with"),
    ],
)
def test_what_papi_refuses_is_told_in_one_line(
    refused: dict[str, int],
    why: str,
    asked: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(papi, "library", lambda: Papi(**refused))
    asked("start")
    assert papi.main("powercap") == 0
    (answer,) = answers(capsys)
    assert answer["ok"] is False
    assert why in answer["problem"]


@pytest.mark.usefixtures("home")
def test_a_component_of_papi_that_is_switched_off_says_nothing(
    asked: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(papi, "library", lambda: Papi(events=[]))  # type: ignore[arg-type]
    asked("start", "sample")
    assert papi.main("powercap") == 0
    assert [energies(one) for one in answers(capsys)] == [{}, {}]


def test_papi_is_asked_for_its_version_and_for_what_it_is_made_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(papi, "library", Papi)
    assert papi.main("--version") == 0
    assert capsys.readouterr().out == "7.3.0\n"
    monkeypatch.setattr(papi, "library", lambda: Papi(rapl=-17))
    assert papi.main("--version") == 1
    assert capsys.readouterr().err.startswith("PAPI 7.3.0 is built without rapl: build PAPI with --with-components")


def test_a_papi_that_is_none_or_does_not_want_to_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RAPLICA_PAPI", str(tmp_path / "libpapi.so"))
    with pytest.raises(papi.PapiError, match=r"libpapi\.so: is no libpapi: "):
        papi.library()
    made: list[Papi] = [Papi(), Papi(PAPI_library_init=-1)]
    monkeypatch.setattr("ctypes.CDLL", lambda _name: made[0])
    assert papi.library() is made[0]
    made.reverse()
    with pytest.raises(papi.PapiError, match=r"PAPI_library_init refuses version 7\.3\.0"):
        papi.library()
    monkeypatch.delenv("RAPLICA_PAPI")
    monkeypatch.setattr("ctypes.util.find_library", lambda _name: None)
    with pytest.raises(papi.PapiError, match="libpapi is not installed: build PAPI"):
        papi.library()
