#!/bin/sh
# Loads what extract.py wrote; it needs that one to have completed.
set -eu
file="${TMPDIR:-/tmp}/dirigent-example.json"
printf 'loading %s bytes\n' "$(wc -c < "$file")"
