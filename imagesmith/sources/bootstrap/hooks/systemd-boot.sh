#!/bin/sh
# Fill the ESP by Debian's own tools, so that a later kernel update in the running system does the same.
# $1: where the ESP's files go. Runs inside the chroot, with /etc/kernel's settings in place.
set -eu
esp=$1
made=/.imagesmith/esp
# The tools want a file system of its own there; on the node it is one, and FAT.
SYSTEMD_RELAX_ESP_CHECKS=1
export SYSTEMD_RELAX_ESP_CHECKS
update-initramfs -c -k all
mkdir -p "$esp" "$made"
mount -t tmpfs -o mode=0755 esp "$esp"
trap 'umount "$esp"' EXIT
bootctl --quiet --esp-path="$esp" --no-variables --random-seed=no --entry-token=literal:debian \
    --make-entry-directory=yes install
for kernel in /boot/vmlinuz-*; do
    kernel-install --esp-path="$esp" --make-entry-directory=yes add "${kernel#/boot/vmlinuz-}" "$kernel"
done
# The menu shows when a key is held; editing the command line would be a way round the root password.
printf 'timeout 0\neditor no\n' >"$esp/loader/loader.conf"
rm -f "$esp/loader/random-seed"
cp -R "$esp/." "$made"
umount "$esp"
trap - EXIT
cp -R "$made/." "$esp"
