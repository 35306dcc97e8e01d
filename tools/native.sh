#!/bin/sh
# Builds caisson-<folder> from each native/<folder> that holds C sources, into the directory named by $1.
# A program is built again only when its sources, the flags or the compiler have changed. Warnings are errors.
set -eu
out=$1
flags='-std=c17 -D_GNU_SOURCE -O2 -Wall -Wextra -Werror -static -s -fstack-protector-strong -D_FORTIFY_SOURCE=2'

for folder in "${CAISSON_HOME:?}"/native/*/; do
  set -- "$folder"*.c
  [ -e "$1" ] || continue
  program=$out/caisson-$(basename "$folder")
  stamp=$(cd "$folder" && { echo "$flags"; gcc --version; sha256sum -- *.[ch] ../*.h; } | sha256sum)
  if [ -x "$program" ] && [ "$(cat "$program.stamp" 2>/dev/null)" = "$stamp" ]; then continue; fi
  # shellcheck disable=SC2086
  gcc $flags -o "$program.new" "$@"
  mv "$program.new" "$program"
  echo "$stamp" >"$program.stamp"
done
