#!/bin/sh
# POST /deploy on the admin app's Unix socket: prints the run's events as they come, one JSON object a line.
#   KARST_TOKEN_FILE=file deploy.sh [REQUEST]        exit code 0 when the run's result is `ok`
# The file holds the line `Authorization: Bearer <JWT>`: what is in a file is in no list of processes.
set -eu
socket=${KARST_ADMIN_SOCKET:-/run/iac_wrapper.sock}
request=${1:-$(dirname "$0")/request.json}
last=$(mktemp)
trap 'rm -f "$last"' EXIT
curl --silent --show-error --no-buffer --fail-with-body --unix-socket "$socket" --header "@${KARST_TOKEN_FILE:?}" \
    --header "Content-Type: application/json" --data-binary "@$request" http://localhost/deploy |
    while read -r event; do
        printf '%s\n' "$event"
        printf '%s\n' "$event" >"$last"
    done
# The last event is always the result; a stream that ends without one says nothing about the run.
grep -q '"type": *"result"' "$last" && grep -q '"outcome": *"ok"' "$last"
