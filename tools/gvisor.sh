#!/bin/sh
# Makes build/native/runsc: a link to the host's own runsc when that is new enough, otherwise to one that is built
# once from the Go module pinned in tools/gvisor and kept in a cache. `gvisor.sh wait` says that it waits.
#
# While it works, build/native/runsc.building holds its process id. When it cannot deliver,
# build/native/runsc.missing holds one line saying why; a start that finds a Go where there was none, and
# `./dev setup`, try again.
set -eu
umask 022
root=${CAISSON_HOME:?}
native=$root/build/native
oldest_release=20250101
PATH=$PATH:/usr/local/go/bin

[ -x "$native/runsc" ] && exit 0
[ "$1" = wait ] && [ -e "$native/runsc.missing" ] && exit 0
[ "$1" = wait ] && [ -e "$native/runsc.building" ] && echo "caisson: waiting for the gVisor build (log: $root/build/gvisor.log)" >&2

exec 8>"$root/build/gvisor.lock"
flock 8
[ -x "$native/runsc" ] && exit 0
echo $$ >"$native/runsc.building"
work=
finish() {
  status=$?
  # An end by a signal says nothing about the host: the next start tries again.
  [ "$status" = 0 ] || [ "$status" = 143 ] || write_missing "it could not be set up; see $root/build/gvisor.log"
  rm -rf "$native/runsc.building" ${work:+"$work"}
}
trap finish EXIT
trap 'exit 143' HUP INT TERM

write_missing() {
  if command -v go >/dev/null; then had_go=yes; else had_go=no; fi
  printf '%s\n%s\n' "$*" "$had_go" >"$native/runsc.missing"
}
missing() {
  write_missing "$*"
  echo "caisson: gVisor: $*" >&2
  exit 0
}
deliver() {
  ln -sf "$1" "$native/runsc"
  rm -f "$native/runsc.missing"
  exit 0
}
# at_least WANTED GOT: compares dotted versions.
at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

if own=$(command -v runsc); then
  release=$("$own" --version | sed -n 's/^runsc version release-\([0-9]*\).*/\1/p')
  if [ "${release:-0}" -ge "$oldest_release" ]; then deliver "$own"; fi
fi

version=$(sed -n 's/^.*gvisor\.dev\/gvisor \(v[^ ]*\).*/\1/p' "$root/tools/gvisor/go.mod")
if [ "$(id -u)" = 0 ]; then cache=/var/cache/caisson; else cache=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/caisson; fi
# The module carries no release number of its own; the day of its commit stands in for it.
day=${version#*-}
release=release-${day%??????-*}.0
runsc=$cache/gvisor/$release/runsc
[ -x "$runsc" ] && deliver "$runsc"

wanted_go=$(sed -n 's/^go //p' "$root/tools/gvisor/go.mod")
command -v go >/dev/null || missing "Go $wanted_go or newer is not installed, and no runsc of release $oldest_release or newer is on PATH"
have_go=$(GOTOOLCHAIN=local go env GOVERSION)
at_least "$wanted_go" "${have_go#go}" || missing "Go $wanted_go or newer is needed to build it; here is ${have_go#go}"

mkdir -p "${runsc%/*}" || missing "the cache ${runsc%/*} cannot be written"
exec 7>"${runsc%/*}/lock"
flock 7
[ -x "$runsc" ] && deliver "$runsc"
work=$(mktemp -d)
cp "$root"/tools/gvisor/* "$work"
export HOME="${HOME:-$cache}" CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS=-mod=readonly GOWORK=off
echo "building gVisor $version"
nice go build -C "$work" -trimpath -ldflags "-s -w -X gvisor.dev/gvisor/runsc/version.version=$release" -o "$work/runsc" gvisor.dev/gvisor/runsc 7>&- 8>&- ||
  missing "its build failed; see $root/build/gvisor.log"
# Copied next to its place first: a rename is atomic only within one file system.
cp "$work/runsc" "$runsc.new"
mv "$runsc.new" "$runsc"
deliver "$runsc"
