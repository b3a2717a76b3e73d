# SPDX-License-Identifier: Apache-2.0
"""Readers on trial: programs that report energy, plugged in and held against what a simulated machine really spent.

From the ground up: `plug` is what a reader has to be, `moment` what there was to know at one moment, `rule` whether an
answer is right, `details` how a failure is told; `stage` and `doors` are the machine that a case plays on; `program`
starts processes and ends them; `called`, `stepped`, `oneshot` and `timed` are the four kinds of plug, `extract` reads
what a command prints, `adapter` makes a plug of a file or of the command line; `trial` plays a case, `subject` and
`case_clauses` bring it to the judge, `smoke` tries a plug before anything is judged.
"""
