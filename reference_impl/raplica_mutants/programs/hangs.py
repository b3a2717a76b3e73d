# SPDX-License-Identifier: Apache-2.0
"""Says nothing, does not end, and takes no notice of SIGTERM."""

import signal
import time

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)
