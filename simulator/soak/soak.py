# SPDX-License-Identifier: Apache-2.0
"""Run the soak from a checkout: `python simulator/soak/soak.py --help`."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PARTS = [str(ROOT / part) for part in ("simulator", "fixtures")]
sys.path[:0] = PARTS
# What is soaked is this checkout, also in the processes that are started.
os.environ["PYTHONPATH"] = os.pathsep.join([*PARTS, *filter(None, [os.environ.get("PYTHONPATH")])])

from soak.main import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
