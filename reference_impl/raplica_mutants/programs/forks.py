# SPDX-License-Identifier: Apache-2.0
"""Answers nothing and leaves children behind, which left its group and hold its stdout open."""

import os
import time

if __name__ == "__main__":
    for _ in range(8):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                time.sleep(600)
            os._exit(0)
