# SPDX-License-Identifier: Apache-2.0
"""The modules that a client loads into PawnIO before it may read a register, and which registers each lets through.

Mirrors IntelMSR.p and AMDFamily17.p of namazso/PawnIO.Modules at c683032 (2026-07-27): the vendors and families that
their main() accepts, and the lists of registers of their ioctl_read_msr and ioctl_write_msr.  The rest of what they
export (PCI, SMN) and the SMCA banks, which no simulated machine has, are left out.

A real module is a compiled program with its author's signature.  What stands for it here is a blob of the same frame -
a 32-bit length, a signature, a body - whose body is the module's name and whose signature nobody could take for real.
"""

import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from raplica_simulator.hardware.registers import AMD, INTEL, CpuId
from raplica_simulator.windows.nt_status import NtStatus

__all__ = ["INVALID_SIGNATURE", "MODULES", "PawnModule", "load_module", "module_blob"]

INVALID_SIGNATURE = 0xC000A000
"""STATUS_INVALID_SIGNATURE: what the kernel's BCryptVerifySignature says; its Win32 error is not known (317 here)."""

_LENGTH = struct.Struct("<I")
_SIGNED_BY = b"raplica, for simulated machines only: "


@dataclass(frozen=True, slots=True)
class PawnModule:
    """A module: which processors it accepts, and which registers it reads and writes there."""

    name: str
    vendor: str
    families: range
    readable: frozenset[int]
    writable: frozenset[int]

    def accepts(self, identity: CpuId) -> bool:
        """What its main() says of a processor."""
        return identity.vendor == self.vendor and identity.family in self.families


_INTEL_READABLE = frozenset(
    {0x2A, 0xCE, 0xE7, 0xE8, 0x150, 0x198, 0x19C, 0x1A2, 0x1A4, 0x1AD, 0x1B1, 0x601, 0x606, 0x607, 0x608}
    | {0x610, 0x611, 0x613, 0x614, 0x618, 0x619, 0x61B, 0x61C, 0x620, 0x621}
    | {0x638, 0x639, 0x63A, 0x63B, 0x640, 0x641, 0x642, 0x64D}
)
_INTEL_WRITABLE = frozenset({0x150, 0x1A4, 0x601, 0x607, 0x608, 0x610})
_AMD_BOTH = frozenset(
    {0xC0010000, 0xC0010004, 0xC0010015, *range(0xC0010064, 0xC001006C), 0xC0010292, 0xC0010296}
    | {0xC00102B1, 0xC00102B3, 0xC00102B4, 0xC0011020, 0xC0011021, 0xC0011022, 0xC001102B}
)
_AMD_READABLE = _AMD_BOTH | {
    *(0x8B, 0x179, 0x17A, 0x17B, 0xC00000E7, 0xC00000E8, 0xC0010061, 0xC0010063, 0xC0010071),
    *(0xC0010293, 0xC0010299, 0xC001029A, 0xC001029B, 0xC00102B0, 0xC00102B2),
}

MODULES: Mapping[str, PawnModule] = MappingProxyType(
    {
        module.name: module
        for module in (
            # On Intel main() asks for the vendor alone.
            PawnModule("IntelMSR", INTEL, range(0x100), _INTEL_READABLE, _INTEL_WRITABLE),
            PawnModule("AMDFamily17", AMD, range(0x17, 0x1B), _AMD_READABLE, _AMD_BOTH),
        )
    }
)


def module_blob(name: str) -> bytes:
    """What a client sends to have a module loaded.  KeyError for a module that there is not."""
    return _frame(MODULES[name].name.encode("ascii"))


def load_module(blob: bytes, identity: CpuId) -> PawnModule | int:
    """The module in a blob, or the NTSTATUS with which it is refused on a processor.

    INVALID_PARAMETER for a frame that is none, INVALID_SIGNATURE for what we did not sign - real modules, too -, and
    NOT_SUPPORTED for a processor that the module does not accept.
    """
    if len(blob) < _LENGTH.size or _LENGTH.unpack_from(blob)[0] > len(blob) - _LENGTH.size:
        return NtStatus.INVALID_PARAMETER
    body = blob[_LENGTH.size + _LENGTH.unpack_from(blob)[0] :]
    module = MODULES.get(body.decode("ascii", errors="replace"))
    if module is None or blob != _frame(body):
        return INVALID_SIGNATURE
    return module if module.accepts(identity) else NtStatus.NOT_SUPPORTED


def _frame(body: bytes) -> bytes:
    signature = _SIGNED_BY + hashlib.sha256(body).digest()
    return _LENGTH.pack(len(signature)) + signature + body
