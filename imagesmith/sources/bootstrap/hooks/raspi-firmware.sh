#!/bin/sh
# Fill the firmware partition by Debian's own hook, so that a later update-initramfs on the node does the same.
# $1: where its files go. Runs inside the chroot, with /etc/default's settings in place.
set -eu
boot=$1
# The hook wants a mount point unless it sees a chroot, and in a user namespace it can't see that.
FAKECHROOT=true
export FAKECHROOT
mkdir -p "$boot"
update-initramfs -c -k all
for file in config.txt cmdline.txt start4.elf; do
    if [ ! -s "$boot/$file" ]; then
        echo "raspi-firmware left no $file in $boot" >&2
        exit 1
    fi
done
