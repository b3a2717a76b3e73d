# SPDX-License-Identifier: Apache-2.0
_RAPLICA_COMPLETE=fish_source raplica | source
