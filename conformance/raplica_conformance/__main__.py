# SPDX-License-Identifier: Apache-2.0
"""`python -m raplica_conformance` is the command `conformance`."""

from raplica_conformance.cli import main

main()
