"""The few files that are laid over Debian's own: where the file systems are, how the kernel starts, no one's name.

Called by `tree`. Pure: texts in a mapping of path to text.
"""

from __future__ import annotations

from collections.abc import Mapping

from imagesmith.sources.bootstrap.recipe import Identity, Recipe

HOSTNAME = "debian"
"""Until the first boot gives the node its own."""

# Without the type of the root the initrd gets no fsck; without RESUME it may wait for a swap that is not there.
_INITRAMFS = "FSTYPE=ext4\nRESUME=none\n"
_RASPI = """
# The root of this image. Without it the hook would take the root of the machine that it runs on.
ROOTPART="UUID={root}"
# 0 writes no cma= word: on a Pi 4 it may prevent booting, and a headless node has no use for it.
CMA=0
# They are in raspi-extra-cmdline, with the other words.
CONSOLES=""
"""


def files(recipe: Recipe, identity: Identity) -> Mapping[str, str]:
    """Absolute path to text, for the root file system; 0644, root's."""
    root = identity.uuid("root")
    laid = {
        "/etc/fstab": _fstab(recipe, identity),
        "/etc/hostname": f"{HOSTNAME}\n",
        "/etc/hosts": f"127.0.0.1 localhost\n127.0.1.1 {HOSTNAME}\n::1 localhost ip6-localhost ip6-loopback\n",
        "/etc/default/locale": "LANG=C.UTF-8\n",
        "/etc/locale.conf": "LANG=C.UTF-8\n",
        "/etc/initramfs-tools/conf.d/imagesmith": _INITRAMFS,
    }
    if recipe.source.loader == "systemd-boot":
        words = f"root=UUID={root} ro {recipe.source.cmdline}".strip()
        laid["/etc/kernel/cmdline"] = f"{words}\n"
        laid["/etc/kernel/entry-token"] = "debian\n"
        laid["/etc/kernel/install.conf"] = "layout=bls\n"
    else:
        laid["/etc/default/raspi-extra-cmdline"] = f"{recipe.source.cmdline}\n"
    return laid


def appended(recipe: Recipe, identity: Identity) -> Mapping[str, str]:
    """Absolute path to text that is added at the end of a file that a package brings."""
    if recipe.source.loader == "raspi-firmware":
        return {"/etc/default/raspi-firmware": _RASPI.format(root=identity.uuid("root"))}
    return {}


def _fstab(recipe: Recipe, identity: Identity) -> str:
    # A boot partition that is away or broken must not keep a node from starting.
    options = "umask=0077,noatime,nofail"
    return (
        "# <file system> <mount point> <type> <options> <dump> <pass>\n"
        f"UUID={identity.uuid('root')} / ext4 noatime,errors=remount-ro 0 1\n"
        f"UUID={identity.fat_uuid} {recipe.boot.mount} vfat {options} 0 2\n"
    )
