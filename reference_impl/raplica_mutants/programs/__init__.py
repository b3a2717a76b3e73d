# SPDX-License-Identifier: Apache-2.0
"""Programs that are no readers at all: what a harness has to survive.

Each is a source of its own that needs nothing but the standard library, and is started as a reader would be: once for a
sample, or once for all with a line on stdin for each. The table of them is `raplica_mutants.program`.
"""
