# SPDX-License-Identifier: Apache-2.0
"""Load what `raplica generate kabylake kabylake.json --format recording` wrote, and list its zones."""

import errno
import json
import os
import sys
from pathlib import Path
from typing import Any


def load(file: str) -> Any:
    """Every path below /sys with its type, mode, target or result of a read."""
    return json.loads(Path(file).read_text(encoding="ascii"))["tree"]


def read(tree: Any, path: str) -> bytes:
    """What reading gives, or the OSError that it raises."""
    result = tree[path]["read"]
    if "content" in result:
        return bytes(result["content"], "latin-1")
    number = getattr(errno, result.get("errno") or result["open_errno"])
    raise OSError(number, os.strerror(number), path)


if __name__ == "__main__":
    fixture = load(sys.argv[1])
    for zone in sorted(path for path in fixture if path.endswith("/energy_uj")):
        print(zone.split("/")[-2], read(fixture, zone).decode().strip())
