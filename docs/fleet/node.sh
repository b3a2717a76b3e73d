#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Judge the machine that this runs on: node.sh RAPLICA.PYZ FOLDER [NAME] leaves FOLDER/NAME.json.
# It ends with 0 where the machine was judged, whatever came out: the engine has then done its part, and
# `conformance compare` tells what differs. 2 and 3 are the suite's own: wrong usage, or nothing to judge here.
set -eu
pyz=$1
folder=$2
name=${3:-$(uname -n)}
mkdir -p "$folder"
status=0
python3 -I -S "$pyz" run --real --report "$folder/$name.json" >/dev/null || status=$?
if [ "$status" -gt 1 ]; then exit "$status"; fi
