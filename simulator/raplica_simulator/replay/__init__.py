# SPDX-License-Identifier: Apache-2.0
"""Recordings of real kernels, done again on a simulated machine."""
