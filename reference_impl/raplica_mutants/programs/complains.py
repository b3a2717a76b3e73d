# SPDX-License-Identifier: Apache-2.0
"""Writes to stderr without end."""

import os

if __name__ == "__main__":
    piece = b"warning: " * (1 << 16)
    while True:
        os.write(2, piece)
