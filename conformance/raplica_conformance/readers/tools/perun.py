# SPDX-License-Identifier: Apache-2.0
"""`perun monitor` on a program that sleeps: `perun.py SECONDS`; prints the microjoules of processors and memory."""

import json
import os
import subprocess
import sys
from pathlib import Path

__all__ = ["main"]

_UJ_PER_J = 1_000_000


def main(program: str, seconds: str) -> int:
    """Print what it measured; its own status where it failed."""
    os.chdir(os.environ["HOME"])
    options = ["--sampling-period", "0.25", "--format", "json", "--data-out", "results", "--binary"]
    done = subprocess.run(  # noqa: S603 - the tool that is driven
        [program, "monitor", *options, "sleep", seconds], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False
    )
    if done.returncode:
        sys.stderr.buffer.write(done.stderr)
        return done.returncode
    metrics = json.loads(Path("results", "sleep.json").read_text(encoding="utf-8"))["metrics"]
    joules = [metrics[name]["sum"] for name in ("cpu_energy", "dram_energy") if name in metrics]
    json.dump({"total": round(sum(joules) * _UJ_PER_J) if joules else None}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
