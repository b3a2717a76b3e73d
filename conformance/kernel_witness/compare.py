# SPDX-License-Identifier: Apache-2.0
"""Whether two recordings of one machine tell of the same kernel behaviour: everything but times has to be equal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from kernel_witness.failure import WitnessError
from raplica_fixtures.recording import Recording, RecordingError, load_recording, to_json

__all__ = ["compare_folders", "compare_recordings"]

_ENDING = ".json.xz"


def compare_folders(first: Path, second: Path) -> int:
    """Compare the recordings that two folders have in common, or two files; tell, and return 1 where they differ."""
    names = [""] if first.is_file() else sorted({path.name for path in first.glob(f"*{_ENDING}")})
    common = [name for name in names if (second / name if name else second).is_file()]
    if not common:
        raise WitnessError(f"{first} and {second} have no recording in common (*{_ENDING}, the same name in both)")
    different = 0
    for name in common:
        found = list(compare_recordings(_load(first / name), _load(second / name)))
        different += bool(found)
        print(f"{name or first.name}: {'differs' if found else 'the same'}")
        for line in found:
            print(f"   {line}")
    print(f"{len(common)} compared, {different} differ; {len(names) - len(common)} are only in {first}")
    return 1 if different else 0


def compare_recordings(first: Recording, second: Recording) -> Iterator[str]:
    """Yield a line for each part that differs; the day of the recording is the only thing that may."""
    one, other = (to_json(replace(recording, recorded="")) for recording in (first, second))
    for key in one:
        if key not in ("steps", "log") and one[key] != other[key]:
            yield f"{key}: {str(one[key])[:200]} and {str(other[key])[:200]}"
    if first.log != second.log:
        only = [[line for line in log if line not in others] for log, others in _both_ways(first.log, second.log)]
        yield f"log: {only[0] or 'nothing'} and {only[1] or 'nothing'}, or the order"
    if len(one["steps"]) != len(other["steps"]):
        yield f"{len(one['steps'])} steps and {len(other['steps'])}"
    for index, (left, right) in enumerate(zip(one["steps"], other["steps"], strict=False)):
        if left != right:
            keys = sorted(key for key in {*left, *right} if left.get(key) != right.get(key))
            yield f"step {index} ({left['step']}): {', '.join(keys)}: {_part(left, keys)} and {_part(right, keys)}"


def _both_ways(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]:
    return (one, other), (other, one)


def _part(step: dict[str, object], keys: list[str]) -> str:
    return str({key: step.get(key) for key in keys})[:200]


def _load(path: Path) -> Recording:
    try:
        return load_recording(path)
    except (RecordingError, OSError) as error:
        raise WitnessError(str(error)) from None
