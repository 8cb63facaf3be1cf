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
#   imagesmith vault create      draw the keys that the cluster will have, sealed by a passphrase
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

# What makes the nodes a cluster. Without `k3s` (and `network`, `ssh`, `upkeep`) they are machines with names, no more.
# Every key with its meaning: docs/inventory.md.
k3s:
  # Which release: stable, latest, or the newest of a minor version (v1.36). Or one release: write `version` in place of
  # this line, with all of its name, like v1.36.3+k3s1.
  channel: stable

  # A program of your own, for every processor that the nodes below have; else the release's is fetched and checked.
  # file: {amd64: k3s, arm64: k3s-arm64}

  # Where the servers keep the cluster's state: sqlite for one server; etcd for three, five, ..., as a change needs a
  # majority of them. On an SD card etcd is slow, and wears it out.
  # datastore: sqlite

  # The program is in the image (baked), or every node fetches it at its first boot (download).
  # delivery: baked
  # The containers' images that k3s itself needs are in the nodes' images too: they need no internet.
  # airgap: true

  # Kubernetes' Secrets are encrypted where they are kept. Decide before the first power-on.
  # secrets_encryption: true

  # What k3s brings along and you do not want: traefik, servicelb, local-storage, metrics-server, coredns.
  # disable: [traefik]

  # Where container images come from; the file with the password lies beside this one.
  # registries:
  #   docker.io:
  #     endpoints: ["https://nas.home.arpa:5000"]
  #   nas.home.arpa:5000:
  #     login: {username: puller, password_file: registry.password}
  #     ca_file: nas-ca.pem

network:
  # The cluster's own networks, which must be nowhere else on yours.
  # pods: 10.42.0.0/16
  # services: 10.43.0.0/16
  # For several servers: a free address that one after the other holds, outside DHCP's range.
  # vip: 192.168.1.9
  # The card that the nodes meet by, where they have several; a node may name one of its own.
  # interface: eth0
  # What else you call the cluster by, as from outside.
  # names: [rack.example.org]
  # Nodes answer only what the cluster, SSH and your services need.
  firewall: true
  # Ports of your own on every node: for the other nodes and pods, and for anyone.
  # open: [9100/tcp, 3493/tcp]
  # open_to_all: [8883/tcp]

ssh:
  # openssh, dropbear, or both: one is left to log in by when the other fails. Dropbear then answers on `dropbear_port`,
  # which is 2222.
  server: openssh
  # port: 22

upkeep:
  # off, or security: security updates by night, nodes restarting one at a time.
  updates: off
  # What a system lacks is in the image (offline), or comes by apt at the first boot (online).
  # packages: offline
  # Where packages come from instead: debian, ubuntu, raspberrypi, armbian.
  # mirrors: {debian: "http://ftp.de.debian.org/debian"}
  # For k3s and apt. Every program on the nodes can read it, so it has no name or password in it.
  # proxy: "http://proxy.home.arpa:3128"
  # The server tells the other nodes the time, so that they start without internet.
  # serve_time: true

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
  # The server: it runs Kubernetes itself. The profile says which board it is and what runs on it.
  - name: node-1
    profile: x86-master
    # Which of the board's base images; without it, the profile's own choice.
    base: debian
    # A fixed address, with the length of the network's prefix. The others must know before it exists where a server is:
    # without one it needs `mac` and `reserved` (what your DHCP server keeps for that card), or `resolvable: true`
    # (your name server knows node-1.home.arpa).
    address: 192.168.1.10/24

  # The workers. Without an address they ask DHCP.
  - name: node-2
    profile: rpi4-worker
    address: 192.168.1.11/24
    # The network card that has the address, where there are several.
    # mac: dc:a6:32:01:02:03
    # For Kubernetes to choose nodes by. They count when the node joins for the first time.
    # labels: {disk: ssd}
    # taints: ["dedicated=storage:NoSchedule"]
    # server or worker, where it is not what the profile says; the board must be strong enough.
    # role: worker

  # - name: node-3
  #   profile: rpi3-worker
  #   mac: dc:a6:32:01:02:04
  #   reserved: 192.168.1.12
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
