#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Fetch what the DaemonSet found: collect.sh FOLDER leaves FOLDER/NODE.json for each node that has judged itself.
set -eu
mkdir -p "$1"
kubectl get pods -l app=raplica -o 'jsonpath={range .items[*]}{.metadata.name} {.spec.nodeName}{"\n"}{end}' |
    while read -r pod node; do
        kubectl logs "$pod" -c judge >"$1/$node.json.new" </dev/null
        mv "$1/$node.json.new" "$1/$node.json"
    done
