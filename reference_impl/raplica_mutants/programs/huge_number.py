# SPDX-License-Identifier: Apache-2.0
"""Answers with an energy of a hundred thousand digits."""

import sys

if __name__ == "__main__":
    number = "9" * 100_000
    sys.stdout.write(
        f'{{"ok": true, "zones": [{{"id": "package-0", "energy_uj": {number}}}], "package-0": {number}}}\n'
    )
