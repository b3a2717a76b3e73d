# SPDX-License-Identifier: Apache-2.0
"""Answers with JSON in which nothing has the type that it should."""

import sys

if __name__ == "__main__":
    sys.stdout.write(
        '{"ok": true, "zones": [null, 7, {"id": ["package-0"], "energy_uj": {"uJ": true}}], "package-0": "warm"}\n'
    )
