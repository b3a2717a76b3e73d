# SPDX-License-Identifier: Apache-2.0
"""A browser as witness: the pages of the suite are opened, listened to, clicked at and checked for who cannot see them.

A tool of the repository, not part of the wheel. Chromium says what it loads, what its console says and what its
keyboard reaches; axe-core says what stands in the way of a screen reader. What came out is kept beside the hash of the
templates, and a test says when that is of other templates than today's.
"""
