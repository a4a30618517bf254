#!/bin/sh
# autogen.sh: makes configure and what it needs from a clean clone. Run once; make keeps it up to date from then on.
set -eu
cd "$(dirname "$0")"
for tool in autoreconf automake libtoolize pkg-config; do
  command -v $tool >/dev/null || { echo "autogen.sh: $tool is missing; scripts/setup build installs it" >&2; exit 1; }
done
mkdir -p build-aux
cp "$(automake --print-libdir)/tap-driver.sh" build-aux/
autoreconf -fi
