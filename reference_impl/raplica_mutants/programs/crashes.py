# SPDX-License-Identifier: Apache-2.0
"""Is killed by a signal of its own in the middle of an answer."""

import os
import resource
import signal
import sys

if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash that leaves no file
    sys.stdout.write('{"ok": true, "zones": [{"id": "intel-ra')
    sys.stdout.flush()
    os.kill(os.getpid(), signal.SIGSEGV)
