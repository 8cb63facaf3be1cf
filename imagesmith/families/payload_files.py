"""What goes into an image of any family: the first boot's scripts and units, the node's data, the clock's epoch."""

from __future__ import annotations

from collections.abc import Iterable

from imagesmith.families import sshd
from imagesmith.families.family import Given
from imagesmith.model import (
    Documents,
    Edit,
    EnsureLine,
    EnsureToken,
    Link,
    MakeDir,
    Materials,
    PartitionRole,
    PutFile,
    Remove,
    SealedHostKey,
)
from imagesmith.secret import PasswordHash, SecretText

LIBRARY = "/usr/lib/imagesmith"
UNITS = "/usr/lib/systemd/system"
WANTED = "/etc/systemd/system/multi-user.target.wants"
SEED = "/var/lib/cloud/seed/nocloud"
CGROUP_WORDS = ("cgroup_enable=memory", "cgroup_memory=1")
"""k3s needs the memory controller, which a Pi's firmware switches off."""

_STEPS = "firstboot/steps/"
_AGAIN = "imagesmith-again.service"
"""Where there is no cloud-init it has nothing to do."""


def step_names(materials: Materials) -> tuple[str, ...]:
    """The first boot's steps in the order in which they run."""
    return tuple(sorted(name.removeprefix(_STEPS) for name in materials.files if name.startswith(_STEPS)))


def first_boot(given: Given) -> tuple[Edit, ...]:
    """All of our first boot, and swap in memory by zram-generator."""
    swap = zram_conf(given.node.settings.zram_percent)
    return (*scripts_and_units(given), PutFile("root", "/etc/systemd/zram-generator.conf", swap))


def scripts_and_units(given: Given) -> tuple[Edit, ...]:
    """Scripts, units (enabled), node.conf, keys, sshd's settings and the file whose time stamp is the image's epoch."""
    node, files = given.node, given.materials.files
    edits: list[Edit] = [
        PutFile("root", f"{LIBRARY}/lib.sh", files["firstboot/lib.sh"]),
        PutFile("root", f"{LIBRARY}/run", files["firstboot/run"], 0o755),
        PutFile("root", f"{LIBRARY}/report", files["firstboot/report"], 0o755),
    ]
    for step in step_names(given.materials):
        edits.append(PutFile("root", f"{LIBRARY}/steps/{step}", files[_STEPS + step], 0o755))
    for unit in ("imagesmith-firstboot.service", "imagesmith-report.service"):
        edits.append(PutFile("root", f"{UNITS}/{unit}", files[f"firstboot/{unit}"]))
        edits.append(enabled(unit))
    edits += [
        PutFile("root", f"{UNITS}/{_AGAIN}", files[f"firstboot/{_AGAIN}"]),
        Link("root", f"/etc/systemd/system/sysinit.target.wants/{_AGAIN}", f"{UNITS}/{_AGAIN}"),
    ]
    keys = "".join(f"{key}\n" for key in node.settings.ssh_keys)
    if node.settings.password:
        # The step 15-account sets it and takes it away.
        hashed = SecretText((PasswordHash(node.settings.password), b"\n"))
        edits.append(PutFile("root", "/etc/imagesmith/password", hashed, 0o600))
    edits += [
        PutFile("root", "/etc/imagesmith/node.conf", given.documents.node_conf),
        PutFile("root", "/etc/imagesmith/authorized_keys", keys.encode()),
        # Empty: its modification time, the image's epoch, is what systemd starts the clock from.
        PutFile("root", "/usr/lib/clock-epoch", b""),
        sshd.drop_in(),
        *host_keys(given.host_keys),
    ]
    return tuple(edits)


def host_keys(keys: Iterable[SealedHostKey]) -> tuple[Edit, ...]:
    """SSH host keys as sshd looks for them. Each family sees to it that its first boot leaves them alone."""
    edits: list[Edit] = []
    for key in keys:
        path = f"/etc/ssh/ssh_host_{key.kind}_key"
        edits.append(PutFile("root", path, key.private, 0o600))
        edits.append(PutFile("root", f"{path}.pub", f"{key.public}\n".encode()))
    return tuple(edits)


def zram_conf(percent: int) -> bytes:
    """zram-generator's file, as the step 50-card-life keeps it.

    It is in the image, so that the first start already sets up the right device: doing that anew while the system
    starts fails now and then, with "Can't change algorithm for initialized device".
    """
    if not percent:
        return b"# no swap at all\n"
    return f"[zram0]\nzram-size = ram * {percent} / 100\ncompression-algorithm = zstd\n".encode()


def enabled(unit: str) -> Link:
    """The link with which `systemctl enable` has a unit started at boot."""
    return Link("root", f"{WANTED}/{unit}", f"{UNITS}/{unit}")


def masked(unit: str) -> Link:
    """The link with which `systemctl mask` keeps a unit from ever being started, whoever enables or asks for it."""
    return Link("root", f"/etc/systemd/system/{unit}", "/dev/null")


def cloud_init(given: Given, settings: str) -> tuple[Edit, ...]:
    """An image's own cloud-init made this node's: no identity left of before, its seed on ext4, nobody else asked.

    `settings` is the path for cloud-init's settings, to be read after the image's own.
    """
    files = given.materials.files
    return (
        *no_identity(),
        MakeDir("root", SEED, 0o700),
        *seed(given.documents),
        PutFile("root", settings, files[f"cloud-init/{'kept-keys' if given.host_keys else 'cloud'}.cfg"]),
    )


def seed(documents: Documents, partition: PartitionRole = "root", folder: str = SEED) -> tuple[Edit, ...]:
    """cloud-init's documents as a NoCloud seed: closed to other users on ext4, bare names on FAT (folder "")."""
    mode = 0o600 if partition == "root" else 0o644
    return (
        PutFile(partition, f"{folder}/user-data", documents.user_data, mode),
        PutFile(partition, f"{folder}/meta-data", documents.meta_data, mode),
        PutFile(partition, f"{folder}/network-config", documents.network_config, mode),
    )


def no_identity() -> tuple[Edit, ...]:
    """Nothing that would make two nodes one: no machine-id, host key or random seed comes with the image.

    The machine-id is empty rather than absent or "uninitialized": systemd would take those for a first boot of its
    own, enable every unit there is and ask questions on the console.
    """
    keys = [f"/etc/ssh/ssh_host_{kind}_key" for kind in ("ecdsa", "ed25519", "rsa")]
    return (
        PutFile("root", "/etc/machine-id", b""),
        Remove("root", "/var/lib/dbus/machine-id"),
        Remove("root", "/var/lib/systemd/random-seed"),
        *(Remove("root", path) for key in keys for path in (key, f"{key}.pub")),
    )


def locale_source(locale: str) -> tuple[Edit, ...]:
    """Debian's locale-gen makes only what this file lists, whatever cloud-init asks it for; C.UTF-8 is always there."""
    language, _, charset = locale.partition(".")
    if language in ("C", "POSIX"):
        return ()
    return (EnsureLine("root", "/etc/locale.gen", f"{locale} {charset or 'ISO-8859-1'}"),)


def cgroup_words(partition: PartitionRole, path: str) -> tuple[Edit, ...]:
    """The words for the kernel in a one-line file."""
    return tuple(EnsureToken(partition, path, word) for word in CGROUP_WORDS)
