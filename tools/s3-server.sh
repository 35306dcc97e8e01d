#!/bin/sh
# Makes build/s3-server: moto, an S3 server for tests, in a virtual environment of its own, exactly as
# tools/s3-server/requirements.txt pins it. Prints the path of its Python. Exit 1: it cannot be had here; stderr says why.
set -eu
umask 022
root=${CAISSON_HOME:?}
venv=$root/build/s3-server
pins=$root/tools/s3-server/requirements.txt
mkdir -p "$root/build"

exec 9>"$root/build/s3-server.lock"
flock 9
if ! cmp -s "$pins" "$venv/pins"; then
  command -v python3 >/dev/null || { echo 'python3 is not installed' >&2; exit 1; }
  rm -rf "$venv"
  python3 -m venv "$venv" >"$root/build/s3-server.log" 2>&1 9>&- || { echo "python3 makes no virtual environment; see $root/build/s3-server.log" >&2; exit 1; }
  "$venv/bin/pip" install --quiet --require-hashes --only-binary :all: --requirement "$pins" >>"$root/build/s3-server.log" 2>&1 9>&- ||
    { echo "moto cannot be installed; see $root/build/s3-server.log" >&2; exit 1; }
  cp "$pins" "$venv/pins"
fi
echo "$venv/bin/python"
