# SPDX-License-Identifier: Apache-2.0
"""What a machine is, as a document and as text."""
