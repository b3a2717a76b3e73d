# SPDX-License-Identifier: Apache-2.0
"""`python -m raplica_simulator` is the command `raplica`."""

from raplica_simulator.cli import main

if __name__ == "__main__":
    main()
