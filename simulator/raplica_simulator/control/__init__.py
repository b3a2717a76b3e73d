# SPDX-License-Identifier: Apache-2.0
"""The control door of a running machine: what can be asked of it and told to it, in Python and over a socket."""
