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

# gvisor_settled: true when runsc is there, is being built, or cannot be had for a reason that is written down.
gvisor_settled() {
  native=$CAISSON_HOME/build/native
  [ -x "$native/runsc" ] || [ -e "$native/runsc.missing" ] && return
  [ -e "$native/runsc.building" ] && read -r builder <"$native/runsc.building" && [ -d "/proc/$builder" ]
}
