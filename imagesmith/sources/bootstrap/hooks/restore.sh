#!/bin/sh
# Undo divert.sh: for all programs, or for the one named. $1: the chroot; $2: a path such as usr/sbin/update-initramfs,
# nothing for all, and then the native programs go too. Run from outside of the chroot.
set -eu
root=${1:?the chroot}
only=${2:-}
suffix=.imagesmith-real
diversions=$root/var/lib/dpkg/diversions

while read -r path && read -r diverted && read -r owner; do
    case $diverted in
    *"$suffix")
        if [ -z "$only" ] || [ "$path" = "/$only" ]; then
            rm -f "$root$path"
            if [ -e "$root$diverted" ] || [ -L "$root$diverted" ]; then
                mv "$root$diverted" "$root$path"
            fi
            continue
        fi
        ;;
    esac
    printf '%s\n%s\n%s\n' "$path" "$diverted" "$owner"
done <"$diversions" >"$diversions.new"
cat "$diversions.new" >"$diversions"
rm "$diversions.new"
[ -z "$only" ] || exit 0

if [ -d "$root/.imagesmith/native" ]; then
    rm -rf "${root:?}/lib64" "${root:?}/usr/lib64" "${root:?}/usr/lib/glibc-hwcaps" \
        "${root:?}/usr/lib/x86_64-linux-gnu"
fi
rm -rf "$root/.imagesmith"
