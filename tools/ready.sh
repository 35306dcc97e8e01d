# Sourced by ./caisson and ./dev on every start, so it uses what the shell has built in and starts no process.

# ready KIND: true when set-up KIND (run or dev) is done and nothing it reads has changed since.
ready() {
  stamp=$CAISSON_HOME/build/ready-$1
  [ -x "$CAISSON_HOME/build/node/node" ] && [ -x "$CAISSON_HOME/build/native/caisson-init" ] || return 1
  for input in "$CAISSON_HOME/pnpm-lock.yaml" "$CAISSON_HOME"/tools/*.sh "$CAISSON_HOME"/tools/gvisor/go.* \
    "$CAISSON_HOME/tools/debian-packages" "$CAISSON_HOME"/native/* "$CAISSON_HOME"/native/*/*.[ch]; do
    [ "$stamp" -nt "$input" ] || return 1
  done
  gvisor_settled
}

# gvisor_settled: true when runsc is there, is being built, or cannot be had for a reason that is written down and
# still holds: the second line of runsc.missing says whether there was a Go.
gvisor_settled() {
  native=$CAISSON_HOME/build/native
  [ -x "$native/runsc" ] && return
  if [ -e "$native/runsc.missing" ]; then
    { read -r reason && read -r had_go; } <"$native/runsc.missing"
    [ "$had_go" = yes ] || ! has_go
    return
  fi
  [ -e "$native/runsc.building" ] && read -r builder <"$native/runsc.building" && [ -d "/proc/$builder" ]
}

has_go() { command -v go >/dev/null || [ -x /usr/local/go/bin/go ]; }
