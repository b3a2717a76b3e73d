# SPDX-License-Identifier: Apache-2.0
"""A machine that runs while others look at it."""
