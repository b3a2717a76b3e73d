# SPDX-License-Identifier: Apache-2.0
"""What the Linux kernel makes of a machine's registers; each module names the kernel file that it mirrors."""
