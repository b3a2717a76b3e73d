# SPDX-License-Identifier: Apache-2.0
"""The Scaphandre driver's protocols from November 2021 to today, and what each of them does wrong: a row per version.

Mirrors the history of hubblo-org/windows-rapl-driver (kernelland/RAPLDrv, later ScaphandreDrv: Driver.c).  The tags are
ours; the talk on the driver calls ``v1`` version 1, and ``v2-4`` with ``v2-8`` version 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Literal

__all__ = ["VERSIONS", "Defect", "Version"]


class Defect(StrEnum):
    """Something that the driver does wrong."""

    #: The mask that picks the CPU is empty (v3) or the CPU's index (v3.1 and later) where it should be one bit.
    AFFINITY_MASK = "affinity-mask"
    #: A read that faults leaves the thread where the driver has put it.
    AFFINITY_KEPT = "affinity-kept"
    #: No length of an output buffer is ever looked at.
    SHORT_OUTPUT = "short-output"
    #: Nor is the transfer method of the control code.
    ANY_METHOD = "any-method"
    #: The byte count is the length of the caller's buffer although 8 bytes were written.
    WHOLE_LENGTH = "whole-length"
    #: A register that the processor does not have stops the machine.
    NO_GUARD = "no-guard"
    #: The list of Intel's registers counts on every processor.
    INTEL_ONLY = "intel-only"
    #: 8 bytes are copied into a variable of 4 on the kernel's stack.
    STACK_OVERRUN = "stack-overrun"
    #: Unloading deletes the wrong name, so that the symbolic link stays.
    STALE_LINK = "stale-link"


@dataclass(frozen=True, slots=True)
class Version:
    """One protocol.

    Attributes:
        tag: its name here.
        commits: where it stands in the driver's history.
        device: the name of the device and of its link.
        answer: what comes back: nothing, ones, always the unit register, the register that the function code stands
            for, or the one that the input names.
        input_length: the only length of the input that is taken; None where it is ignored.
        test_registers: whether 1, 2 and 3 are answered with two patterns and the time.
        list: which registers may be read: any, Intel's and AMD's, or those with the platform's.
        picks_cpu: whether the input names a CPU.
        mask_is_index: whether the wrong affinity mask is the CPU's index; it is empty otherwise.
        clamps_cpu: whether a CPU beyond the last one means the last one; it is refused otherwise.
        defects: what it does wrong.
    """

    tag: str
    commits: str
    device: Literal["RAPLDriver", "ScaphandreDriver"]
    answer: Literal["nothing", "ones", "unit", "function", "input"]
    input_length: int | None = None
    test_registers: bool = False
    list: Literal["any", "cpu", "platform"] = "any"
    picks_cpu: bool = False
    mask_is_index: bool = False
    clamps_cpu: bool = False
    defects: frozenset[Defect] = frozenset()


_DIRECT = frozenset({Defect.SHORT_OUTPUT, Defect.ANY_METHOD})
_READS = _DIRECT | {Defect.WHOLE_LENGTH, Defect.NO_GUARD}
_BUFFERED = frozenset({Defect.SHORT_OUTPUT, Defect.ANY_METHOD, Defect.NO_GUARD})
_RENAMED = _BUFFERED | {Defect.STALE_LINK}
_OF_EIGHT = _RENAMED | {Defect.STACK_OVERRUN}
_GUARDED = (_RENAMED - {Defect.NO_GUARD}) | {Defect.AFFINITY_MASK, Defect.AFFINITY_KEPT}

_ROWS = (
    Version("v0-none", "28d4db1 to 3681f58, November 2021", "RAPLDriver", "nothing"),
    Version("v0-ones", "059dea4, 2021-11-27", "RAPLDriver", "ones", defects=_DIRECT),
    Version("v0-unit", "1dd6937 and 4929fa1, 2021-11-27", "RAPLDriver", "unit", defects=_READS),
    Version("v1", "351a239, 2021-11-28", "RAPLDriver", "function", defects=_READS),
    Version("v2-4", "528d297, 2021-12-07", "RAPLDriver", "input", 4, test_registers=True, defects=_BUFFERED),
    Version(
        "v2-8",
        "373c883, 2021-12-11",
        "RAPLDriver",
        "input",
        8,
        test_registers=True,
        defects=_BUFFERED | {Defect.STACK_OVERRUN},
    ),
    Version("v2-8-open", "ffe9bf3 and c08daf4, January 2022", "ScaphandreDriver", "input", 8, defects=_OF_EIGHT),
    Version(
        "v2-8-allow",
        "d6a60ab to b3d39d4, June 2022: releases v0.0.1 and v0.0.2",
        "ScaphandreDriver",
        "input",
        8,
        list="cpu",
        defects=_OF_EIGHT | {Defect.INTEL_ONLY},
    ),
    Version(
        "v3",
        "a9adb20, 2023-08-30: release v0.0.3",
        "ScaphandreDriver",
        "input",
        8,
        list="cpu",
        picks_cpu=True,
        defects=_RENAMED | {Defect.AFFINITY_MASK, Defect.INTEL_ONLY},
    ),
    Version(
        "v3.1",
        "18cb52b to 91620ca, September and October 2023: release v0.0.4",
        "ScaphandreDriver",
        "input",
        8,
        list="platform",
        picks_cpu=True,
        mask_is_index=True,
        clamps_cpu=True,
        defects=_GUARDED | {Defect.INTEL_ONLY},
    ),
    Version(
        "v3.2",
        "a472cf3, 2024-02-28: release v0.0.5 and today",
        "ScaphandreDriver",
        "input",
        8,
        list="platform",
        picks_cpu=True,
        mask_is_index=True,
        clamps_cpu=True,
        defects=_GUARDED,
    ),
)

#: The versions by tag, oldest first.
VERSIONS = MappingProxyType({row.tag: row for row in _ROWS})
