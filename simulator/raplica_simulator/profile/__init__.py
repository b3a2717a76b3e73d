# SPDX-License-Identifier: Apache-2.0
"""The file that says what machine is simulated: read, checked, turned into frozen values."""
