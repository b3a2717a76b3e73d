#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What shell scripts make of rdmsr: the first processor of each package, one energy unit for all of its domains.
# Prints microjoules by domain, null for a register that cannot be read.
set -eu
PATH=$PATH:/usr/sbin:/sbin
first=
packages=' '
printf '{'
for folder in /sys/devices/system/cpu/cpu[0-9]*; do
    cpu=${folder##*/cpu}
    package=$(cat "$folder/topology/physical_package_id" 2>/dev/null) || continue
    case $packages in *" $package "*) continue ;; esac
    packages="$packages$package "
    unit=$(rdmsr -p "$cpu" -f 12:8 -u 0x606) || continue
    for domain in 0x611= 0x619=/dram 0x639=/core 0x641=/uncore; do
        raw=$(rdmsr -p "$cpu" -u "${domain%%=*}" 2>/dev/null) || raw=
        # A register that faults on this model belongs to a domain that is not there.
        [ -n "$raw" ] || [ "$domain" = 0x611= ] || continue
        uj=null
        [ -z "$raw" ] || uj=$(awk -v raw="$raw" -v unit="$unit" 'BEGIN { printf "%.0f", raw * 1000000 / 2 ^ unit }')
        printf '%s"package-%s%s": %s' "$first" "$package" "${domain#*=}" "$uj"
        first=', '
    done
done
printf '}\n'
