# SPDX-License-Identifier: Apache-2.0
"""The clauses about Windows have teeth: of each thing that is wrong, exactly the clauses that see it fail."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from raplica_simulator.windows.nt_status import Win32
from raplica_simulator.windows.scaphandre_driver import ScaphandreDriver
from raplica_simulator.windows.scaphandre_versions import VERSIONS, Defect
from raplica_simulator.windows.service_names import Accepted

from .lying_drivers import (
    Busy,
    ByCode,
    Cached,
    Elsewhere,
    EmptyMask,
    FourFunctions,
    Half,
    NoClamp,
    NoTests,
    Private,
    Survives,
    v32,
    without,
)
from .lying_windows import (
    CLAUSES,
    Lying,
    boots_bare,
    drifting,
    ended,
    ends,
    forgives,
    granted,
    instead,
    measured,
    metadata,
    partly,
    refuses,
    sign_now,
    stopped,
    told,
    told_of,
    utf16,
    verdicts,
)

FAILS: dict[str, list[str]] = tomllib.loads(Path(__file__).with_name("windows_lies.toml").read_text())
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
