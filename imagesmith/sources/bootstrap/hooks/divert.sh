#!/bin/sh
# Put stand-ins where programs of the tree will be: a stub for update-initramfs, which would run several times, and,
# where .imagesmith/native holds a tree of programs for this machine, those instead of emulated ones.
# $1: the chroot, its packages extracted but not installed; run from outside of it. restore.sh undoes it.
#
# Only programs that turn text and files into text and files, that do not ask which architecture they are on, and
# that no initrd takes a copy of. The diversions are written as dpkg-divert would; it is emulated itself, and slow.
set -eu
root=${1:?the chroot}
native=.imagesmith/native
suffix=.imagesmith-real

divert() { # path, without leading slash
    printf '/%s\n/%s%s\n:\n' "$1" "$1" "$suffix" >>"$root/var/lib/dpkg/diversions"
    if [ -e "$root/$1" ] || [ -L "$root/$1" ]; then
        mv "$root/$1" "$root/$1$suffix"
    fi
    mkdir -p "$root/${1%/*}"
}

borrow() { # path in the tree, program of the native one
    [ -f "$root/$native/$2" ] || return 0
    divert "$1"
    cp "$root/$native/$2" "$root/$1"
}

touch "$root/var/lib/dpkg/diversions"
divert usr/sbin/update-initramfs
printf '#!/bin/sh\nexit 0\n' >"$root/usr/sbin/update-initramfs"
chmod 0755 "$root/usr/sbin/update-initramfs"

[ -d "$root/$native" ] || exit 0

# The loader's place is fixed in every program; its libraries it finds below /usr/lib too, where no glob over
# /usr/lib/*-linux-gnu finds them (initramfs-tools' hooks have such). Perl wants its modules in that folder.
libraries=$native/usr/lib/x86_64-linux-gnu
mkdir -p "$root/usr/lib64" "$root/usr/lib/glibc-hwcaps" "$root/usr/lib/x86_64-linux-gnu"
[ -e "$root/lib64" ] || ln -s usr/lib64 "$root/lib64"
cp "$root/$libraries/ld-linux-x86-64.so.2" "$root/usr/lib64/"
ln -s "../../../$libraries" "$root/usr/lib/glibc-hwcaps/x86-64-v2"
for modules in perl-base perl5; do
    ln -s "../../../$libraries/$modules" "$root/usr/lib/x86_64-linux-gnu/$modules"
done
if ! chroot "$root" "/$native/usr/bin/perl" -e 'use strict; use POSIX'; then
    echo "I: this processor is too old for the borrowed programs; emulating all of them, which is slow" >&2
    exit 0
fi

for name in \
    dash bash perl sed grep mawk find xargs tar gzip cpio zstd xz openssl run-parts dpkg-deb update-alternatives \
    getopt dracut-install cmp diff \
    cat chmod chown chgrp cksum comm cp cut date dd df dirname basename du env expr false fold head id install join \
    link ln ls md5sum mkdir mkfifo mktemp mv nl od paste printf pwd readlink realpath rm rmdir seq sha1sum sha256sum \
    sha512sum sleep sort split stat sync tac tail tee test '[' timeout touch tr true truncate tsort uniq unlink wc \
    whoami yes; do
    borrow "usr/bin/$name" "usr/bin/$name"
done
# kmod itself goes into the initrd, so only its long job is borrowed.
borrow usr/sbin/depmod usr/bin/kmod

# Byte code is the same for every machine, what other Python programs look at is not.
for program in "$root/$native"/usr/bin/python3.[0-9]*; do
    name=${program##*/}
    case $name in *[!a-z0-9.]*) continue ;; esac
    [ -f "$program" ] || continue
    divert "usr/bin/$name"
    cat >"$root/usr/bin/$name" <<END
#!/bin/sh
case " \$* " in
*py_compile* | *compileall* | */py3compile* | */py3clean* | *cache_tag*) exec /$native/usr/bin/$name "\$@" ;;
esac
exec /usr/bin/$name$suffix "\$@"
END
    chmod 0755 "$root/usr/bin/$name"
done
