#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Judge this machine and tell LAVA each clause as a test case: lava.sh RAPLICA.PYZ.
set -eu
status=0
python3 -I -S "$1" run --real --report result.tap >/dev/null || status=$?
while read -r line; do
    case $line in
        "ok "*"# SKIP"* | "not ok "*"# TODO"*) result=skip ;;
        "ok "*) result=pass ;;
        "not ok "*) result=fail ;;
        *) continue ;;
    esac
    clause=${line#* - }
    lava-test-case "${clause%% *}" --result "$result"
done <result.tap
if [ "$status" -gt 1 ]; then exit "$status"; fi
