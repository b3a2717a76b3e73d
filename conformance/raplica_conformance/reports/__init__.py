# SPDX-License-Identifier: Apache-2.0
"""What is made of verdicts: a page, and formats for machines; each a module with a function `render`."""
