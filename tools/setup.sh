#!/bin/sh
# Sets a checkout up: setup.sh run (what ./caisson needs) or setup.sh dev (what ./dev needs as well).
# A second word, again, makes it look at everything although nothing has changed.
# Every step looks first and acts only where something is missing. One set-up works at a time.
set -eu
umask 022
kind=$1
root=${CAISSON_HOME:?}
build=$root/build
PATH=$PATH:/usr/sbin:/sbin

node_version=24.21.0
pnpm_version=12.21.0
case $(uname -m) in
  x86_64)
    arch=x64
    node_sha256=7fde7b8afa198da66257f42ee2001d874c7355631e6d1579a5fb5ef1f246df4c
    pnpm_sha256=bd994d790972d26804c9db0a28089b6ec72367270349d3e8c2ce6ef28037d679
    ;;
  aarch64)
    arch=arm64
    node_sha256=0f8949d1028f6d61506b2d5bc57e7e6fe893d7b1997509b7847294fc9c616584
    pnpm_sha256=ea5e91cffafb8dd76e46b049f5306ad02b682538332b1cf9de3acdef1e421bd4
    ;;
  *)
    echo "caisson: set-up: $(uname -m) is not supported; use x86_64 or aarch64" >&2
    exit 1
    ;;
esac

say() { echo "caisson: set-up: $*" >&2; }
fail() {
  say "$*"
  exit 1
}
# quietly WHAT COMMAND…: runs the command into the log and shows the end of the log when it fails.
quietly() {
  what=$1
  shift
  echo "== $*" >>"$log"
  "$@" >>"$log" 2>&1 && return
  tail -n 15 "$log" >&2
  say "$what failed; the whole output is in $log"
  return 1
}

mkdir -p "$build/native" 2>/dev/null || fail "$build cannot be written; run this once as the owner of $root"
log=$build/setup.log
exec 9>"$build/setup.lock" || fail "$build cannot be written; run this once as the owner of $root"
flock -n 9 || { say 'waiting for another set-up'; flock 9; }
. "$root/tools/ready.sh"
if [ "${2-}" != again ] && ready "$kind"; then exit 0; fi
# The stamp's time is taken before the work, so that a change made meanwhile is seen by the next start.
: >"$build/started"
: >"$log"

# 1. Debian packages.
absent() { case $1 in /*) [ ! -e "$1" ] ;; *) ! command -v "$1" >/dev/null ;; esac; }
wanted=
while read -r package needed_for shown _why; do
  case $package in '' | '#'*) continue ;; esac
  [ "$needed_for" = run ] || [ "$kind" = dev ] || continue
  [ "$needed_for" != ci ] || [ -n "${CI-}" ] || continue
  if absent "$shown"; then wanted="$wanted $package"; fi
done <"$root/tools/debian-packages"
if absent npm && [ ! -x "$build/node/node" ]; then wanted="$wanted nodejs npm"; fi

# No package starts its service: whoever needs one here starts its own.
install_debian() {
  policy=/usr/sbin/policy-rc.d
  if [ -e "$policy" ]; then
    install_packages
    return
  fi
  printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy"
  install_packages && installed=0 || installed=1
  rm -f "$policy"
  return $installed
}
install_packages() {
  export DEBIAN_FRONTEND=noninteractive
  set -- apt-get -y -q -o DPkg::Lock::Timeout=300 install --no-install-recommends $wanted
  case $(echo /var/lib/apt/lists/*_Packages*) in *'*'*) quietly 'apt-get update' apt-get -q update || return 1 ;; esac
  echo "== $*" >>"$log"
  "$@" >>"$log" 2>&1 && return
  # Package lists that are out of date name files that are gone.
  quietly 'apt-get update' apt-get -q update && quietly 'apt-get install' "$@"
}
if [ -n "$wanted" ]; then
  if [ "$(id -u)" != 0 ] || absent apt-get; then
    say "missing here:$wanted. Install them as root: apt-get install$wanted"
  else
    say "installing Debian packages:$wanted"
    install_debian 9>&- || say "not installed:$wanted; what needs them will be refused"
  fi
fi

# 2. Node and pnpm: npm packages whose binaries have the digests above. The machine's own Node only runs npm.
digest_is() { [ "$(sha256sum "$1" 2>/dev/null)" = "$2  $1" ]; }
node_package=$build/node/node_modules/node-linux-$arch
pnpm=$build/node/node_modules/@pnpm/exe.linux-$arch/pnpm
toolchain="$node_version $node_sha256 $pnpm_version $pnpm_sha256"
if [ ! -x "$build/node/node" ] || [ "$(cat "$build/node/stamp" 2>/dev/null)" != "$toolchain" ]; then
  absent npm && fail 'neither Node nor npm is here; as root: apt-get install nodejs npm'
  say "installing Node $node_version"
  rm -rf "$build/node"
  mkdir -p "$build/node"
  (cd "$build/node" && quietly 'npm install' npm install --prefix "$build/node" --no-save --no-package-lock --ignore-scripts \
    --no-audit --no-fund --no-update-notifier --loglevel=error \
    "node-linux-$arch@$node_version" "@pnpm/exe.linux-$arch@$pnpm_version" 9>&-) || exit 1
  digest_is "$node_package/bin/node" "$node_sha256" || fail "the Node that npm delivered is not Node $node_version as pinned in tools/setup.sh"
  digest_is "$pnpm" "$pnpm_sha256" || fail "the pnpm that npm delivered is not pnpm $pnpm_version as pinned in tools/setup.sh"
  echo "$toolchain" >"$build/node/stamp"
  # Last, because a start takes the link as the sign that Node is there.
  ln -s "node_modules/node-linux-$arch/bin/node" "$build/node/node"
fi

# 3. npm packages, exactly those of the lock file. A checkout that once had the development tools keeps them.
packages="$kind $(sha256sum <"$root/pnpm-lock.yaml")"
have=$(cat "$build/packages" 2>/dev/null || true)
production=--prod
if [ "$kind" = dev ] || [ -d "$root/node_modules/typescript" ]; then production=; fi
if [ ! -d "$root/node_modules" ] || { [ "$have" != "$packages" ] && [ "$have" != "dev ${packages#* }" ]; }; then
  say 'installing npm packages'
  (cd "$root" && PATH=$build/node:$PATH CI=1 quietly 'pnpm install' "$pnpm" install --frozen-lockfile $production 9>&-) || exit 1
  if [ -z "$production" ]; then packages="dev ${packages#* }"; fi
  echo "$packages" >"$build/packages"
fi

# 4. Native programs: build/native/caisson-<folder> from native/<folder>/*.c.
if ! absent gcc; then
  CAISSON_HOME=$root quietly 'building the native programs' sh "$root/tools/native.sh" "$build/native" 9>&- || exit 1
elif [ -x "$build/native/caisson-init" ]; then
  say 'no C compiler: the native programs stay as they were built before'
else
  fail 'no C compiler; as root: apt-get install gcc libc6-dev'
fi

# 5. gVisor, in the background: the level container does not wait for it.
if ! gvisor_settled || [ -e "$build/native/runsc.missing" ]; then
  rm -f "$build/native/runsc.missing"
  setsid -f sh "$root/tools/gvisor.sh" build </dev/null >>"$build/gvisor.log" 2>&1 9>&-
fi

mv "$build/started" "$build/ready-$kind"
