# SPDX-License-Identifier: Apache-2.0
"""Ends with a traceback and a status that is not 0."""

if __name__ == "__main__":
    raise PermissionError(13, "Permission denied", "/sys/class/powercap/intel-rapl:0/energy_uj")
