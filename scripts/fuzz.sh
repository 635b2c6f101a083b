#!/bin/sh
# Runs every fuzz target by a count of inputs, not by time: fuzz.sh [COUNT]
set -eu
count=${1:-300000}
targets=$(grep -rlE '^func Fuzz[A-Z]' --include='*_test.go' . | sort)
[ -n "$targets" ] || { echo "no fuzz targets" >&2; exit 1; }
for file in $targets; do
	for name in $(sed -nE 's/^func (Fuzz[A-Za-z0-9_]*)\(.*/\1/p' "$file"); do
		echo "fuzz $(dirname "$file") $name"
		go test -run '^$' -fuzz "^$name\$" -fuzztime "${count}x" "$(dirname "$file")"
	done
done
