# SPDX-License-Identifier: Apache-2.0
"""What runs inside the virtual machine: the first process, which does the steps and says what came of each.

Standard library only, for the Python that the file system in memory brings along.
"""
