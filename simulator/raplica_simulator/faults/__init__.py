# SPDX-License-Identifier: Apache-2.0
"""What can go wrong with a machine: events as data, each a verb with its own module's code."""
