#!/bin/sh
# Installs the Debian packages that are missing. Which ones there are stands in
# internal/tool. Usage: scripts/install.sh [--tests]
set -eu
missing=$("${MIOS_PROGRAMS:-bin}/mios" doctor --missing "$@")
[ -n "$missing" ] || exit 0
missing=$(echo $missing) # on one line
sudo=
if [ "$(id -u)" -ne 0 ]; then
	if ! command -v sudo >/dev/null; then
		echo "These Debian packages are missing: install them as root: apt-get install $missing" >&2
		exit 1
	fi
	sudo=sudo
	echo "Root is needed, by sudo, to install Debian packages, and for nothing else."
fi
echo "Installing Debian packages: $missing"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { $sudo apt-get update -q && DEBIAN_FRONTEND=noninteractive $sudo apt-get install -q -y --no-install-recommends $missing; } >"$log" 2>&1; then
	tail -n 20 "$log" >&2
	echo "apt-get did not install them: see above what it says, or install by hand: $missing" >&2
	exit 1
fi
