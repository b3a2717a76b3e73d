# SPDX-License-Identifier: Apache-2.0
"""Closes its stdout and goes on running."""

import os
import time

if __name__ == "__main__":
    os.close(1)
    time.sleep(600)
