# SPDX-License-Identifier: Apache-2.0
"""Writes one line without end."""

import os

if __name__ == "__main__":
    piece = b"7" * (1 << 20)
    while True:
        os.write(1, piece)
