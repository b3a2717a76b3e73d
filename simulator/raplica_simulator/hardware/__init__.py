# SPDX-License-Identifier: Apache-2.0
"""What is in silicon: registers, units, topology, exact energy and power limits. It knows no operating system.

Mirrors Intel SDM vol. 3B section 15.10 (RAPL) and vol. 4 (MSRs), and the RAPL registers of AMD's PPRs.
"""
