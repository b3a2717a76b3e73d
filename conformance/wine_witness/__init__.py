# SPDX-License-Identifier: Apache-2.0
"""Wine as witness: a real driver and a real client, in C, meet through an implementation of Windows that is not ours.

A tool of the repository, not part of the wheel. Wine's service manager and I/O manager say what comes of each call; the
recordings are replayed on `raplica_simulator.windows`. Making them needs wine and a mingw-w64 compiler; replaying needs
neither.
"""
