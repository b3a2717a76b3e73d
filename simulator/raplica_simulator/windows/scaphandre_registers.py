# SPDX-License-Identifier: Apache-2.0
"""Which registers the Scaphandre driver reads: by control code in its first version, by allow list in later ones.

Mirrors ScaphandreDrv/msr.c of hubblo-org/windows-rapl-driver, and kernelland/RAPLDrv/Driver.c at 351a239 for version 1.
"""

from __future__ import annotations

from types import MappingProxyType

__all__ = ["AMD_LIST", "FUNCTIONS_V1", "INTEL_LIST", "PLATFORM_LIST", "allowed"]

#: Version 1: the function code, which stands for a register.
FUNCTIONS_V1 = MappingProxyType({0xBEB: 0x606, 0xBEC: 0x610, 0xBED: 0x611})

#: The unit, then limit, energy and more of package, dram, cores and graphics: 16 registers since June 2022.
INTEL_LIST = frozenset(
    {
        *(0x606,),
        *(0x610, 0x611, 0x613, 0x614),
        *(0x618, 0x619, 0x61B, 0x61C),
        *(0x638, 0x639, 0x63A, 0x63B),
        *(0x640, 0x641, 0x642),
    }
)

#: Energy and limit of the platform, on the Intel list since 18cb52b (September 2023).
PLATFORM_LIST = frozenset({0x64D, 0x65C})

#: Unit, core energy, package energy.
AMD_LIST = frozenset({0xC0010299, 0xC001029A, 0xC001029B})

_INTEL = frozenset({"GenuineIntel"})
_AMD = frozenset({"AuthenticAMD", "AMDisbetter!"})


def allowed(vendor: str, *, platform: bool) -> frozenset[int]:
    """The registers that may be read on a vendor's processors: none where it is neither Intel nor AMD."""
    if vendor in _INTEL:
        return INTEL_LIST | PLATFORM_LIST if platform else INTEL_LIST
    return AMD_LIST if vendor in _AMD else frozenset()
