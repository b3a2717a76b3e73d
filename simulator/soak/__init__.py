# SPDX-License-Identifier: Apache-2.0
"""Long runs against the live surface: millions of reads, hundreds of starts and kills; a tool of the repository."""
