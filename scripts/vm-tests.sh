#!/bin/sh
# Runs the tests that boot QEMU, in the packages that are named. What fails is
# run once more by itself, and said: on a busy machine an emulated device may
# be later than QEMU's own clocks allow. A test that fails twice fails; one that
# passed at the second attempt is printed last, for somebody to look into.
set -u
cd "$(dirname "$0")/.." || exit 1
log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
again=
for pkg in "$@"; do
	if go test -count=1 -p 1 -timeout 60m "$pkg" >"$log" 2>&1; then
		cat "$log"
		continue
	fi
	cat "$log"
	failed=$(sed -n 's/^--- FAIL: \([A-Za-z0-9_]*\) .*/\1/p' "$log" | sort -u | paste -s -d '|' -)
	if [ -z "$failed" ] || grep -q '^panic: ' "$log"; then
		status=1
		continue
	fi
	echo "once more, by themselves: $failed"
	if go test -count=1 -p 1 -parallel 1 -timeout 30m -run "^($failed)\$" "$pkg"; then
		again="$again $failed"
	else
		status=1
	fi
done
[ -z "$again" ] || echo "passed at the second attempt only, and so worth a look:$again"
exit $status
