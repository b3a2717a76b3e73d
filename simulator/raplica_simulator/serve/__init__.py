# SPDX-License-Identifier: Apache-2.0
"""`raplica serve-windows`: a Windows on a live machine, its drivers, and the socket at which it is asked."""
