# SPDX-License-Identifier: Apache-2.0
"""The subjects that can be judged; each module is imported only where somebody names such a subject."""
