# SPDX-License-Identifier: Apache-2.0
"""Drivers for tools of others: each asks one by its public command or API, and says what it said in the suite's words.

They are started as files, by the Python that has the tool, and import nothing of this package; papi alone is a module
of it, since PAPI is a library of C.
"""
