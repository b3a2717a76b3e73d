#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Compare every machine with one of them: compare.sh REFERENCE.json FOLDER. 1 where something is worse somewhere.
set -eu
worse=0
for report in "$2"/*.json; do
    printf '== %s: ' "$(basename "$report" .json)"
    conformance compare "$1" "$report" || worse=1
done
exit "$worse"
