#!/bin/sh
# Runs a command on a copy-on-write view of this machine, in a mount and process namespace of its own:
#   unshare --mount --pid --fork --kill-child --propagation private sh own-root.sh FOLDER WORKING_DIRECTORY COMMAND...
# Whatever the command changes is kept in memory and gone with it.
set -eu
base=$1
cwd=$2
shift 2
mount -t tmpfs -o mode=755 tmpfs "$base"
mkdir "$base/upper" "$base/work" "$base/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$base/upper,workdir=$base/work" "$base/root"
mount -t proc proc "$base/root/proc"
mount --rbind /sys "$base/root/sys"
mount --rbind /dev "$base/root/dev"
mount -t tmpfs tmpfs "$base/root/dev/shm"
exec chroot "$base/root" sh -c 'cd "$0" && exec "$@"' "$cwd" "$@"
