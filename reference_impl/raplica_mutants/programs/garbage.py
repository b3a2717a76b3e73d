# SPDX-License-Identifier: Apache-2.0
"""Answers with bytes that are no text."""

import sys

if __name__ == "__main__":
    sys.stdout.buffer.write(bytes(range(256)) * 4 + b"\n")
