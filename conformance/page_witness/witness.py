# SPDX-License-Identifier: Apache-2.0
"""Look at the pages in a browser, from a checkout: `python conformance/page_witness/witness.py --help`."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / part) for part in ("conformance", "simulator", "reference_impl", "fixtures")]

from page_witness.main import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
