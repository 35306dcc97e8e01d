#!/bin/sh
# Makes build/fsck/VERSION/fsck, the checker of C2SP tlog-tiles logs of transparency-dev/tessera, once, and prints its path.
# Ends with 1 and one line when there is no Go or it cannot be built.
set -eu
version=v1.0.4
root=${CAISSON_HOME:?}
PATH=$PATH:/usr/local/go/bin
fsck=$root/build/fsck/$version/fsck
command -v go >/dev/null || { echo "Go is not installed" >&2; exit 1; }
mkdir -p "${fsck%/*}"
exec 8>"${fsck%/*}/lock"
flock 8
[ -x "$fsck" ] || GOTOOLCHAIN=local GOFLAGS= GOWORK=off GOBIN="${fsck%/*}" nice go install "github.com/transparency-dev/tessera/cmd/fsck@$version" 8>&- >"${fsck%/*}/log" 2>&1 ||
  { echo "the fsck of tessera $version cannot be built; see ${fsck%/*}/log" >&2; exit 1; }
echo "$fsck"
