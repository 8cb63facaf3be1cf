#!/bin/sh
# Make the installed tree a base for many nodes: services on, root locked, nothing left of the making or of this
# machine. Runs inside the chroot, after the settings were laid over it.
set -eu

for unit in systemd-networkd systemd-resolved systemd-timesyncd ssh; do
    if [ -e "/usr/lib/systemd/system/$unit.service" ]; then
        systemctl --quiet enable "$unit.service"
    fi
done
if [ -e /usr/lib/systemd/system/systemd-resolved.service ]; then
    ln -snf ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf
    rm -f /etc/.resolv.conf.systemd-resolved.bak
fi
sed -i 's/^root:[^:]*:/root:*:/' /etc/shadow

for file in /.imagesmith/append/*; do
    [ -e "$file" ] || continue
    target=$(basename "$file" | tr '!' '/')
    cat "$file" >>"$target"
done

# Identity: the first boot makes its own.
mkdir -p /etc
: >/etc/machine-id
rm -f /var/lib/dbus/machine-id /etc/ssh/ssh_host_* /var/lib/systemd/random-seed /var/lib/systemd/credential.secret
# How the packages were installed here is no setting of the node.
rm -f /etc/apt/apt.conf.d/99mmdebstrap /etc/dpkg/dpkg.cfg.d/99mmdebstrap
# Logs, caches and what package tools keep of the state before.
for log in /var/log/btmp /var/log/wtmp /var/log/lastlog /var/log/faillog; do
    [ ! -e "$log" ] || : >"$log"
done
rm -rf /var/log/apt /var/log/*.log /var/log/runit /var/cache/ldconfig/* /var/cache/fontconfig /var/cache/apt/* \
    /var/lib/apt/lists/* /var/cache/debconf/*-old /var/lib/dpkg/*-old /root/.bash_history \
    /etc/.pwd.lock /etc/passwd- /etc/group- /etc/shadow- /etc/gshadow- /etc/subuid- /etc/subgid-
mkdir -p /var/lib/apt/lists/partial /var/cache/apt/archives/partial

# What was just installed needs no update on the first boot: of the linker cache, the hardware database, the catalogue
# (minutes on a slow or emulated board). All times become SOURCE_DATE_EPOCH, /usr's and these files' among them.
for folder in /etc /var; do
    printf 'TIMESTAMP_NSEC=%s000000000\n' "$SOURCE_DATE_EPOCH" >"$folder/.updated"
done
# console-setup makes its cache anew unless that is newer than the settings.
for file in /etc/default/keyboard /etc/default/console-setup; do
    [ ! -e "$file" ] || touch -d "@$((SOURCE_DATE_EPOCH - 1))" "$file"
done
