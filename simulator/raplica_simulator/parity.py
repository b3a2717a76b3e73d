# SPDX-License-Identifier: Apache-2.0
"""How far the simulator and recorded kernels agree: `python -m raplica_simulator.parity [RECORDING]...`.

Every recording is done again by :mod:`.player`; without arguments those of the repository.  One line for each says
how much was compared, the last one says it of all, and every difference is told.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from raplica_fixtures import recording_paths
from raplica_fixtures.recording import load_recording
from raplica_simulator.profile.profile import load_profile
from raplica_simulator.replay.player import Replay, replay

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Replay and tell; 0 where nothing differs, 1 where something does, 2 for a file that is no recording."""
    parser = argparse.ArgumentParser(
        prog="python -m raplica_simulator.parity",
        description="Replay recordings of real kernels on the simulator and tell every difference.",
        epilog="example: python -m raplica_simulator.parity fixtures/recordings/kabylake-6.12.json.xz",
    )
    parser.add_argument("recordings", nargs="*", type=Path, metavar="RECORDING", help="default: all of the repository")
    options = parser.parse_args(arguments)
    paths = options.recordings or recording_paths()
    total: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    try:
        for path in paths:
            found = replay(load_recording(path), load_profile(path))
            total.update(_counts(found))
            left_out.update(found.left_out)
            _say(f"{path.name}: {_told(_counts(found))}")
            for difference in found.differences:
                _say(f"    {difference}")
    except (OSError, ValueError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    for name, count in sorted(left_out.items()):
        _say(f"left out: {name}: {count}")
    _say(f"{len(paths)} recordings: {_told(total)}")
    return 1 if total["differences"] else 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


def _counts(found: Replay) -> dict[str, int]:
    return {
        "tree entries": found.entries,
        "reads and writes": found.steps,
        "other steps": found.causes,
        "odd system calls": found.calls,
        "differences": len(found.differences),
    }


def _told(counts: dict[str, int] | Counter[str]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())


if __name__ == "__main__":
    raise SystemExit(main())
