#!/bin/sh
# Install the programs that imagesmith calls, on Debian or Ubuntu: as root by apt-get, else by telling what to type.
#
# On Debian 12 two of them are too old and come from its backports suite: QEMU 7.2 crashes guests, and e2fsprogs
# before 1.47.1 can't make a file system from an archive. The suite is added by copying the machine's own entry for
# the release, so that whatever mirror it uses is used for backports too.
set -eu

packages="mmdebstrap mtools dosfstools fdisk gdisk gpg gpg-agent gpgv xz-utils zstd zip e2fsprogs qemu-system-x86
qemu-system-arm qemu-utils qemu-user-static ovmf qemu-efi-aarch64 uidmap fuse3 libfuse3-3 libarchive13 util-linux
shellcheck
bmap-tools xorriso grub-common strace udev arch-test binfmt-support python3-venv openssh-client openssl dropbear-bin iproute2"
newer="e2fsprogs mmdebstrap qemu-system-x86 qemu-system-arm qemu-utils qemu-user-static"

is_debian_12() { grep -q '^VERSION_CODENAME=bookworm' /etc/os-release; }

# What a package is called since Debian 13, where that differs; nothing else has such a name.
newer_name() {
    case $1 in
        libfuse3-3) echo libfuse3-4 ;;
        libarchive13) echo libarchive13t64 ;;
        *) echo "$1" ;;
    esac
}

all_here() {
    for package in $packages; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
            dpkg-query -W -f '${Status}' "$(newer_name "$package")" 2>/dev/null | grep -q 'ok installed' ||
            return 1
    done
    mke2fs_version=$(dpkg-query -W -f '${Version}' e2fsprogs)
    qemu_version=$(dpkg-query -W -f '${Version}' qemu-system-x86)
    dpkg --compare-versions "$mke2fs_version" ge 1.47.1 && dpkg --compare-versions "$qemu_version" ge 1:10
}

add_backports() {
    source=/etc/apt/sources.list.d/debian.sources
    target=/etc/apt/sources.list.d/imagesmith-backports.sources
    grep -rqs 'bookworm-backports' /etc/apt/sources.list /etc/apt/sources.list.d && return
    if [ -f "$source" ]; then
        # The first stanza that names the release itself, with its suites replaced.
        awk 'BEGIN { RS = ""; ORS = "\n\n" } /Suites:[^\n]*bookworm( |\n)/ { print; exit }' "$source" |
            sed 's/^Suites:.*/Suites: bookworm-backports/' >"$target"
    else
        sed -n 's/^\(deb .*\) bookworm \(.*\)$/\1 bookworm-backports \2/p' /etc/apt/sources.list | head -n 1 \
            >/etc/apt/sources.list.d/imagesmith-backports.list
    fi
}

register_arm() {
    # Without it no ARM base can be made here; a container without the right to mount just can't.
    [ -e /proc/sys/fs/binfmt_misc/qemu-aarch64 ] && return
    [ -e /proc/sys/fs/binfmt_misc/register ] || mount -t binfmt_misc none /proc/sys/fs/binfmt_misc 2>/dev/null || true
    if command -v update-binfmts >/dev/null; then update-binfmts --enable qemu-aarch64 2>/dev/null || true; fi
    [ -e /proc/sys/fs/binfmt_misc/qemu-aarch64 ] || echo "note: ARM programs can't run here, so no ARM base can be made"
}

if all_here; then
    [ "$(id -u)" -ne 0 ] || register_arm
    exit 0
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "Programs are missing. Type this once:  sudo sh tools/install-system.sh" >&2
    exit 9
fi
if ! command -v apt-get >/dev/null; then
    echo "This is not Debian or Ubuntu. Install by its own means: $packages" >&2
    exit 9
fi
export DEBIAN_FRONTEND=noninteractive
if is_debian_12; then add_backports; fi
apt-get update -q
for package in $packages; do
    apt-cache show "$package" >/dev/null 2>&1 || package=$(newer_name "$package")
    wanted="${wanted:-} $package"
done
# shellcheck disable=SC2086
apt-get install -q -y --no-install-recommends $wanted
if is_debian_12; then
    # shellcheck disable=SC2086
    apt-get install -q -y --no-install-recommends -t bookworm-backports $newer
fi
register_arm
