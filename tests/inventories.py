"""A small rack to write mistakes into: three servers, a worker, and boards of two architectures."""

from __future__ import annotations

import pytest

from imagesmith.errors import DocumentInvalid
from imagesmith.model import Base, Board, Cluster, FileSource, Profile
from imagesmith.profile.cluster import load_cluster

_BASE = Base("debian", "debian", FileSource("a.img"))
_PC = Board("pc", "A PC", "amd64", 2**33, (_BASE,), None, ("server", "worker"))
_PI = Board("pi", "A Pi", "arm64", 2**32, (_BASE,), None, ("server", "worker"), wifi=True, storage="card")
_SMALL = Board("small", "A small Pi", "arm64", 2**30, (_BASE,), None, ("worker",), storage="card")
PROFILES = {
    "pc-server": Profile("pc-server", "", _PC, "server", "debian"),
    "pi-worker": Profile("pi-worker", "", _PI, "worker", "debian"),
    "small-worker": Profile("small-worker", "", _SMALL, "worker", "debian"),
}
RACK = """\
schema: 1
name: rack
domain: home.arpa
k3s:
  version: v1.36.3+k3s1
network:
  vip: 192.168.1.9
ssh:
  server: both
upkeep:
  updates: security
nodes:
  - name: a
    profile: pc-server
    address: 192.168.1.10/24
  - name: b
    profile: pc-server
    mac: dc:a6:32:01:02:03
    reserved: 192.168.1.11
  - name: c
    profile: pi-worker
    role: server
    resolvable: true
  - name: d
    profile: pi-worker
"""
ONE = """\
schema: 1
name: rack
k3s: {channel: stable}
nodes:
  - name: a
    profile: pc-server
    address: 192.168.1.10/24
  - name: d
    profile: pi-worker
"""
"""A lone server and its worker."""


def load(text: str) -> Cluster:
    return load_cluster(text, "cluster.yaml", PROFILES)


def changed(text: str, *pairs: tuple[str, str]) -> str:
    """The text with each old piece, which must be in it, replaced by the new one."""
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new, 1)
    return text


def complaints(text: str) -> list[str]:
    """All that is wrong with an inventory: each with its line, its path, and as one line with the hint."""
    with pytest.raises(DocumentInvalid) as caught:
        load(text)
    for problem in caught.value.problems:
        assert problem.file == "cluster.yaml" and problem.line > 0, problem
    return [str(problem) for problem in caught.value.problems]
