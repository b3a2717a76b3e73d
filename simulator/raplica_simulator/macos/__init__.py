# SPDX-License-Identifier: Apache-2.0
"""macOS's way to a machine's energy: the tool ``powermetrics``, as a stand-in that shows a simulated machine."""
