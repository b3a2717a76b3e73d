# SPDX-License-Identifier: Apache-2.0
"""A program of the tests: run a command on a live machine, as `raplica exec` does, and write down what it read.

``observer.py OPTIONS FILE COMMAND...``: OPTIONS is a JSON document with what :func:`.start_live` takes and
``unprivileged``; the calls of the command and of all that it starts go to FILE, one JSON document a line.  The control
door of the machine is ``door`` in the current folder.
"""

import json
import sys
from pathlib import Path

from raplica_simulator.exec.command import run
from raplica_simulator.live.options import start_live


def main(given: str, file: str, *command: str) -> int:
    """Run it; its exit status."""
    options = {"kernel": None, "load": None, "speed": "1", "at": None, "near_wrap": None, **json.loads(given)}
    unprivileged = options.pop("unprivileged", False)
    live = start_live(options.pop("machine"), options.pop("kernel"), **options)
    live.log.switch(on=True)
    status = run(live, command, control="door", unprivileged=unprivileged, tell=tell)
    if live.log.dropped:
        tell(f"{live.log.dropped} calls were let go: the log is too short")
        return 125
    with Path(file).open("w", encoding="utf-8") as lines:
        calls = ({**call._asdict(), "data": call.data.decode("latin-1")} for call in live.log.since())
        lines.writelines(f"{json.dumps(call)}\n" for call in calls)
    return status


def tell(line: str) -> None:
    """A line for a person."""
    sys.stderr.write(f"raplica: {line}\n")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
