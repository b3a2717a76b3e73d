# SPDX-License-Identifier: Apache-2.0
"""Answers with a hundred thousand open brackets."""

import sys

if __name__ == "__main__":
    sys.stdout.write("[" * 100_000 + "\n")
