"""Writes the commented inventory that `imagesmith init` starts a cluster with."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from imagesmith.disk import failures
from imagesmith.errors import IOFailed, UsageError
from imagesmith.profile import names
from imagesmith.workflow.target import DEFAULT_INVENTORY

_TEXT = """\
# The inventory: what your cluster is, and which machines are in it.
#
#   imagesmith plan node-1       what a build would do, before it does anything
#   imagesmith build node-1      make the image of one node
#   imagesmith build --all       ... or of every node
#
# A node's own word beats `defaults`, which beats its profile. `imagesmith profiles` lists the profiles.

# The version of this file's format.
schema: 1

# A short name for the whole cluster.
name: home

# Added to every host name: node-1.home.arpa. Leave it out when you have none.
domain: home.arpa

# What all nodes share. Each of these can be given again for a single node below.
defaults:
  # The user you log in as, with one of these keys.
  user: admin
  ssh_keys:{keys}

  # A password for the console and for sudo; SSH never takes one. The file, beside this one, holds its hash:
  #   (umask 077; openssl passwd -6 > admin.hash)
  # password_file: admin.hash
  # The user becomes root without a password, since it has none: who holds the key is root, so guard it by a passphrase.
  # With a password_file above you may write false here; with neither, nobody can become root.
  sudo_nopasswd: true

  locale: en_US.UTF-8
  timezone: Etc/UTC # like Europe/Berlin
  keyboard: us

  # For nodes with a fixed address; the others learn theirs by DHCP.
  gateway: 192.168.1.1
  nameservers: [192.168.1.1]

  # Wi-Fi beside the wire, for workers on boards that have it; a server gets it by a line of its own. The file holds the
  # passphrase and stays here: only a key made from it goes into images.
  # wifi: {ssid: my network, country: DE, key_file: wifi.key}

  # Where nodes ask for the time. Without it, the servers that the operating system knows.
  # time_servers: [192.168.1.1]

  # How much the system's journal may take, how much of the memory becomes compressed swap (percent, 0 for none), and
  # after how many seconds the hardware watchdog restarts a node that hangs (0 for never).
  # journal_max: 64MiB
  # zram_percent: 50
  # watchdog_s: 15

nodes:
  # The k3s server. The profile says which board it is and what runs on it.
  - name: node-1
    profile: x86-master
    # Which of the board's base images; without it, the profile's own choice.
    base: debian
    # A fixed address, with the length of the network's prefix. Without it the node asks DHCP.
    address: 192.168.1.10/24

  # The workers.
  - name: node-2
    profile: rpi4-worker
    address: 192.168.1.11/24
    # The network card that has the address, where there are several.
    # mac: dc:a6:32:01:02:03

  # - name: node-3
  #   profile: rpi3-worker
"""
_NO_KEYS = """ []
    # Put the line of your .pub file here, or nobody can log in:
    # - ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA... you@home"""


def starter(ssh_keys: Sequence[str]) -> str:
    """The text of a valid inventory with these public keys in it."""
    keys = "".join(f"\n    - {key}" for key in ssh_keys) or _NO_KEYS
    return _TEXT.replace("{keys}", keys)


def write_starter(folder: Path, home: Path) -> tuple[Path, int]:
    """Write cluster.yaml into `folder` with the public keys found in `home`/.ssh.

    Gives its path and the number of keys. Raises UsageError where there is one already, IOFailed.
    """
    path = folder / DEFAULT_INVENTORY
    keys = _public_keys(home)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise IOFailed(f"this folder can't be made: {error.strerror}", where=str(folder)) from error
    with failures(path, "writing the inventory"):
        _write_new(path, starter(keys))
    return path, len(keys)


def _write_new(path: Path, text: str) -> None:
    """The whole file or none. Raises UsageError where there is one already, OSError."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fchmod(descriptor, 0o644)
            os.fsync(descriptor)
        # Unlike a rename, a link replaces nothing; a file system without links (FAT) has no such promise.
        try:
            os.link(temporary, path)
        except PermissionError:
            if os.path.lexists(path):
                raise FileExistsError(path) from None
            Path(temporary).rename(path)
    except FileExistsError as error:
        raise UsageError("it is there already, and is not overwritten", where=str(path), hint="move it away") from error
    finally:
        Path(temporary).unlink(missing_ok=True)


def _public_keys(home: Path) -> list[str]:
    keys = []
    for path in sorted((home / ".ssh").glob("id_*.pub")):
        try:
            keys.append(names.ssh_public_key(path.read_text("utf-8").strip()))
        except (OSError, ValueError):
            continue  # a damaged or foreign file is no reason to refuse a starter
    # A comment with a colon or hash in it would not be plain YAML text; the key itself needs no comment.
    return [key if _is_plain(key) else " ".join(key.split()[:2]) for key in keys]


def _is_plain(key: str) -> bool:
    return ": " not in key and " #" not in key and not key.endswith(":")
