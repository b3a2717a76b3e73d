# SPDX-License-Identifier: Apache-2.0
"""The kernel as witness: boots unmodified kernels without hardware and records what their powercap drivers do.

A tool of the repository, not part of the wheel. Standard library only; it needs a Debian with apt-get, gcc and make,
and fetches QEMU, kernels and a Python for the virtual machine itself. Nothing is installed.
"""
