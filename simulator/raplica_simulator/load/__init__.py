# SPDX-License-Identifier: Apache-2.0
"""The watts that a machine's domains want, and how they change over its time."""
