#!/bin/sh
# Runs fuzz targets by a count of inputs, not by time: fuzz.sh [COUNT [FOLDER...]]
# Without folders those of the whole repository run. It says which target runs,
# the how many-th of all, and how long it took; a target that fails does not end
# it, and is named once more at the end. go test says where the input is that
# failed: below the package's testdata/fuzz.
set -u
cd "$(dirname "$0")/.." || exit 1
count=${1:-300000}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- .
case $count in *[!0-9]* | '') echo "fuzz.sh: $count is no number of inputs" >&2; exit 2 ;; esac
list=$(mktemp) && log=$(mktemp) || exit 1
trap 'rm -f "$list" "$log"' EXIT
grep -rE --include='*_test.go' --exclude-dir=out '^func Fuzz[A-Z]' "$@" | sort |
	sed -nE 's#^(\./)?([^:]*)/[^/:]*:func (Fuzz[A-Za-z0-9_]*)\(.*#\2 \3#p' >"$list"
total=$(wc -l <"$list")
[ "$total" -gt 0 ] || { echo "fuzz.sh: no fuzz targets in $*" >&2; exit 1; }
echo "$total fuzz targets, $count inputs each"
n=0 failed=
while read -r dir name; do
	n=$((n + 1)) begin=$(date +%s)
	printf '%d/%d %s %s: ' "$n" "$total" "$dir" "$name"
	if go test -run '^$' -fuzz "^$name\$" -fuzztime "${count}x" "./$dir" >"$log" 2>&1; then
		echo "ok, $(($(date +%s) - begin)) s"
	else
		echo "FAILED"
		cat "$log"
		failed="$failed $dir:$name"
	fi
done <"$list"
[ -z "$failed" ] || { echo "failed:$failed"; exit 1; }
echo "all $total passed"
