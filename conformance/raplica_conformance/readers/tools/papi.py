# SPDX-License-Identifier: Apache-2.0
"""PAPI by its C interface: `-m raplica_conformance.readers.tools.papi powercap` or `rapl`, which are its components.

It speaks the protocol of stepped readers. All energies that the component counts are one set of events, started at the
baseline and read while it goes on counting, as a program does that measures itself. `--version` says which PAPI it is.

Debian builds PAPI without these components. RAPLICA_PAPI names another libpapi.so, built with
`./configure --with-components="powercap rapl"`.
"""

import ctypes
import ctypes.util
import os
import re
import sys
from collections.abc import Iterator
from typing import Any

from raplica_conformance.readers.tools.library import Said, converse

__all__ = ["PapiError", "count", "main", "path_of"]

COMPONENTS = ("powercap", "rapl")

# papi.h: what PAPI_get_opt tells before the library is initialised, and the ways through a component's events.
_LIB_VERSION = 21
_ENUM_EVENTS, _ENUM_FIRST = 0, 1
_OK, _NULL, _NATIVE = 0, -1, 0x40000000

_ENERGY_OF_POWERCAP = re.compile(r"powercap:::ENERGY_UJ:ZONE(\d+)(?:_SUBZONE(\d+))?")
_ENERGY_OF_RAPL = re.compile(r"rapl:::(PACKAGE|DRAM|PP0|PP1|PSYS)_ENERGY:PACKAGE(\d+)")
_PARTS = {"PACKAGE": "", "DRAM": "/dram", "PP0": "/core", "PP1": "/uncore"}
#: What one count is worth, in uJ: the components count uJ and nJ.
_WORTH_UJ = {"powercap": 1.0, "rapl": 0.001}

_WHAT_TO_DO = 'build PAPI with --with-components="powercap rapl" and name its libpapi.so in RAPLICA_PAPI'


class PapiError(Exception):
    """PAPI refuses: one line."""


class _EventInfo(ctypes.Structure):
    """How PAPI_event_info_t begins (papi.h, the same in PAPI 5 to 7); the rest is room enough for all of them."""

    _fields_ = (
        ("event_code", ctypes.c_uint),
        ("symbol", ctypes.c_char * 1024),
        ("short_descr", ctypes.c_char * 64),
        ("long_descr", ctypes.c_char * 1024),
        ("rest", ctypes.c_char * (1 << 16)),
    )


def library() -> Any:
    """libpapi, initialised. PapiError where it is not there or does not want to."""
    name = os.environ.get("RAPLICA_PAPI") or ctypes.util.find_library("papi")
    if name is None:
        raise PapiError(f"libpapi is not installed: {_WHAT_TO_DO}")
    try:
        papi: Any = ctypes.CDLL(name)
        version = papi.PAPI_get_opt(_LIB_VERSION, None)
    except (OSError, AttributeError) as error:
        raise PapiError(f"{name}: is no libpapi: {error}") from error
    if papi.PAPI_library_init(version) != version:
        raise PapiError(f"{name}: PAPI_library_init refuses version {_words(version)}")
    return papi


def count(component: str, papi: Any) -> Iterator[Said]:
    """Count every energy of a component. PapiError where a call fails that a program would have to check."""
    events = dict(_energies(component, papi))
    if not events:
        # The component is switched off: PAPI_native_avail shows nothing either.
        while True:
            yield {}, None
    handle = ctypes.c_int(_NULL)
    _check(papi, papi.PAPI_create_eventset(ctypes.byref(handle)), "PAPI_create_eventset")
    for name in events.values():
        _check(papi, papi.PAPI_add_named_event(handle, name.encode()), f"PAPI_add_named_event {name}")
    _check(papi, papi.PAPI_start(handle), "PAPI_start")
    values = (ctypes.c_longlong * len(events))()
    yield dict.fromkeys(events, 0.0), None
    while True:
        _check(papi, papi.PAPI_read(handle, values), "PAPI_read")
        yield dict(zip(events, (value * _WORTH_UJ[component] for value in values), strict=True)), None


def path_of(event: str, description: str = "") -> str | None:
    """The domain that an event counts; None for one that counts no energy.

    ZONE1 is package-1; what a SUBZONE is stands in the description of its event NAME.
    """
    if found := _ENERGY_OF_POWERCAP.fullmatch(event):
        package = f"package-{found[1]}"
        return f"{package}/{description or found[2]}" if found[2] is not None else package
    if found := _ENERGY_OF_RAPL.fullmatch(event):
        return "psys" if found[1] == "PSYS" else f"package-{found[2]}{_PARTS[found[1]]}"
    return None


def _energies(component: str, papi: Any) -> Iterator[tuple[str, str]]:
    """The domains of a component, and the names of the events that count them."""
    index = papi.PAPI_get_component_index(component.encode())
    if index < 0:
        raise PapiError(f"this PAPI has no component {component}: {_WHAT_TO_DO}")
    described: dict[str, str] = {}
    code = ctypes.c_int(_NATIVE)
    way = _ENUM_FIRST
    while papi.PAPI_enum_cmp_event(ctypes.byref(code), way, index) == _OK:
        way = _ENUM_EVENTS
        info = _EventInfo()
        if papi.PAPI_get_event_info(code, ctypes.byref(info)) != _OK:
            continue  # of a component that is switched off: papi_native_avail passes over it as well
        described[info.symbol.decode(errors="replace")] = info.long_descr.decode(errors="replace").strip()
    for event in described:
        path = path_of(event, described.get(event.replace(":::ENERGY_UJ:", ":::NAME:"), ""))
        if path is not None:
            yield path, event


def _check(papi: Any, status: int, what: str) -> None:
    if status != _OK:
        papi.PAPI_strerror.restype = ctypes.c_char_p
        reason = papi.PAPI_strerror(status)
        raise PapiError(f"{what}: {reason.decode() if reason else status}")


def _words(version: int) -> str:
    return ".".join(str(version >> shift & 0xFF) for shift in (24, 16, 8))


def main(component: str) -> int:
    """Answer line by line until the end of the input; or print the version, or one line on why there is none."""
    if component == "--version":
        try:
            papi = library()
            version = _words(papi.PAPI_get_opt(_LIB_VERSION, None))
            absent = [one for one in COMPONENTS if papi.PAPI_get_component_index(one.encode()) < 0]
            if absent:
                raise PapiError(f"PAPI {version} is built without {' and '.join(absent)}: {_WHAT_TO_DO}")
        except PapiError as error:
            sys.stderr.write(f"{error}\n")
            return 1
        sys.stdout.write(f"{version}\n")
        return 0
    return converse(f"PAPI {component}", lambda: count(component, library()))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
