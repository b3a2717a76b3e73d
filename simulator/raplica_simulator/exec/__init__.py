# SPDX-License-Identifier: Apache-2.0
"""`raplica exec`: a command runs where a machine stands in the place of the host's own power meters."""
