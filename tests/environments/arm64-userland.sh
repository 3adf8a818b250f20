#!/usr/bin/env bash
# A Debian userland for 64-bit Arm on this machine, run by qemu's user mode: the station's side of a Jetson or a
# Raspberry Pi without the board. Needs root and: apt-get install debootstrap qemu-user-static openssh-client
#
#   arm64-userland.sh make ROOT            build it (debootstrap, some minutes); nothing to do if it is there
#   arm64-userland.sh run ROOT COMMAND…    run a command in it, with /proc, /dev and /sys
#   arm64-userland.sh off                  forget the interpreter that `make` and `run` registered
set -euo pipefail

MIRROR=${MIRROR:-http://deb.debian.org/debian}
SUITE=${SUITE:-bookworm}
PACKAGES=python3,python3-venv,openssh-server,ca-certificates
BINFMT=/proc/sys/fs/binfmt_misc
NAME=edgetl-aarch64
QEMU=/usr/bin/qemu-aarch64-static
# an ELF file for little-endian 64-bit Arm, by its first 20 bytes
MAGIC='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
MASK='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'

stop() { echo "$1 must be $2; got $3." >&2; echo "Try: $4" >&2; exit 1; }

interpreter_on() {
  [ -e "$BINFMT/register" ] || mount -t binfmt_misc binfmt_misc "$BINFMT"
  grep -lqs '^magic 7f454c460201010000000000000000000200b700' "$BINFMT"/* && return
  # F: the file is opened now, so that it is found inside the userland too
  printf '%s' ":$NAME:M::$MAGIC:$MASK:$QEMU:F" > "$BINFMT/register"
}

make_userland() {
  local root=$1
  [ -e "$root/.complete" ] && return
  rm -rf "$root"
  mkdir -p "$root"
  debootstrap --arch=arm64 --foreign --variant=minbase --include="$PACKAGES" "$SUITE" "$root" "$MIRROR"
  # what the second stage mounts vanishes with its namespace
  unshare --mount --fork chroot "$root" /debootstrap/debootstrap --second-stage
  touch "$root/.complete"
}

run_inside() {
  local root=$1
  shift
  # shellcheck disable=SC2016  # expanded by the inner shell
  exec unshare --mount --fork bash -c '
    set -euo pipefail
    root=$1; shift
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    # qemu shows the cores of the machine below; the station must see those it computes on. No /sys: there it would find
    # the other kind of core once more, and onnxruntime crash on the contradiction
    if [ -e "$root/etc/edgetl-cpuinfo" ]; then mount --bind "$root/etc/edgetl-cpuinfo" "$root/proc/cpuinfo"; fi
    exec chroot "$root" /usr/bin/env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 \
      OMP_NUM_THREADS=1 "$@"' bash "$root" "$@"
}

[ "$(id -u)" = 0 ] || stop "the user" "root" "$(id -un)" "sudo $0 $*"
for program in debootstrap "$QEMU" unshare; do
  command -v "$program" >/dev/null || stop "$program" "installed" "none" "apt-get install debootstrap qemu-user-static"
done
case ${1:-} in
  make) interpreter_on; make_userland "$(realpath -m "$2")" ;;
  run) interpreter_on; root=$(realpath "$2"); shift 2; run_inside "$root" "$@" ;;
  off) [ ! -e "$BINFMT/$NAME" ] || echo -1 > "$BINFMT/$NAME" ;;
  *) stop "the first argument" "make, run or off" "'${1:-}'" "$0 make ROOT" ;;
esac
