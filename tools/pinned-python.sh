#!/bin/sh
# Makes build/NAME: a virtual environment of Python with the packages that tools/NAME/requirements.txt pins, exactly those.
# Prints the path of its Python. Exit 1: it cannot be had here; stderr says why. Usage: pinned-python.sh NAME
set -eu
umask 022
root=${CAISSON_HOME:?}
name=${1:?}
venv=$root/build/$name
pins=$root/tools/$name/requirements.txt
log=$root/build/$name.log
mkdir -p "$root/build"

exec 9>"$root/build/$name.lock"
flock 9
if ! cmp -s "$pins" "$venv/pins"; then
  command -v python3 >/dev/null || { echo 'python3 is not installed' >&2; exit 1; }
  rm -rf "$venv"
  python3 -m venv "$venv" >"$log" 2>&1 9>&- || { echo "python3 makes no virtual environment; see $log" >&2; exit 1; }
  "$venv/bin/pip" install --quiet --require-hashes --only-binary :all: --requirement "$pins" >>"$log" 2>&1 9>&- ||
    { echo "its packages cannot be installed; see $log" >&2; exit 1; }
  cp "$pins" "$venv/pins"
fi
echo "$venv/bin/python"
