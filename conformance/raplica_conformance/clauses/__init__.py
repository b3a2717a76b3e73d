# SPDX-License-Identifier: Apache-2.0
"""The clauses about providers, one module for each matter; `load_clauses` imports them all.

A module whose name begins with an underscore holds no clause: it is what several of them read with. A clause may
use the standard library and `subject` only, so that it can be judged wherever Python runs.
"""
