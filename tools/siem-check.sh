#!/bin/sh
# Makes build/siem-check: the schema of OCSF and the messages of OTLP, for tests, in a virtual environment of its own, exactly as
# tools/siem-check/requirements.txt pins them. Prints the path of its Python. Exit 1: it cannot be had here; stderr says why.
set -eu
umask 022
root=${CAISSON_HOME:?}
venv=$root/build/siem-check
pins=$root/tools/siem-check/requirements.txt
mkdir -p "$root/build"

exec 9>"$root/build/siem-check.lock"
flock 9
if ! cmp -s "$pins" "$venv/pins"; then
  command -v python3 >/dev/null || { echo 'python3 is not installed' >&2; exit 1; }
  rm -rf "$venv"
  python3 -m venv "$venv" >"$root/build/siem-check.log" 2>&1 9>&- || { echo "python3 makes no virtual environment; see $root/build/siem-check.log" >&2; exit 1; }
  "$venv/bin/pip" install --quiet --require-hashes --only-binary :all: --requirement "$pins" >>"$root/build/siem-check.log" 2>&1 9>&- ||
    { echo "the schemas cannot be installed; see $root/build/siem-check.log" >&2; exit 1; }
  cp "$pins" "$venv/pins"
fi
echo "$venv/bin/python"
