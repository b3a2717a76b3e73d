# SPDX-License-Identifier: Apache-2.0
"""A machine, what it draws, and what goes wrong with it at which moment."""
