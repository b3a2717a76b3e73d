# SPDX-License-Identifier: Apache-2.0
_CONFORMANCE_COMPLETE=fish_source conformance | source
