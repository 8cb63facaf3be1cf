"""Reads `k3s:` of an inventory: which k3s, its data, how it comes to the nodes, and where its images come from.

Called by `profile.cluster`, which settles what takes the whole inventory to decide.
"""

from __future__ import annotations

from dataclasses import replace

from imagesmith.model import K3s, Registry, RegistryLogin
from imagesmith.profile import kubernetes, names
from imagesmith.profile.schema import Fields, boolean, choice, listed, mapping, one_of, table, text
from imagesmith.profile.settings import secret_file

ARCHITECTURES = ("amd64", "arm64")
PARTS = ("traefik", "servicelb", "local-storage", "metrics-server", "coredns")
"""What k3s brings along and can do without."""


def read_k3s(fields: Fields) -> K3s:
    """What is said; `datastore` is sqlite where nothing is, see `settled`."""
    k3s = K3s(
        version=fields.take("version", text(kubernetes.version), ""),
        channel=fields.take("channel", text(kubernetes.channel), K3s().channel),
        files=fields.take("file", mapping(one_of(*ARCHITECTURES), text(names.file_path)), {}),
        datastore=fields.take("datastore", choice("sqlite", "etcd"), "sqlite"),
        delivery=fields.take("delivery", choice("baked", "download"), "baked"),
        airgap=fields.take("airgap", boolean, False),
        secrets_encryption=fields.take("secrets_encryption", boolean, False),
        disable=tuple(dict.fromkeys(fields.take("disable", listed(choice(*PARTS)), ()))),
        registries=_registries(fields),
    )
    _refuse_contradictions(fields, k3s)
    return k3s


def settled(k3s: K3s, fields: Fields, servers: int) -> K3s:
    """With the datastore that this number of servers asks for, where none is chosen."""
    return k3s if fields.has("datastore") or servers < 2 else replace(k3s, datastore="etcd")


def _refuse_contradictions(fields: Fields, k3s: K3s) -> None:
    if fields.has("version") and fields.has("channel"):
        fields.complain("channel", "`version` says which k3s it is, so a channel has nothing to decide", "keep one")
    if k3s.delivery != "download":
        return
    if k3s.files:
        because = "`file` is on this machine, and `delivery: download` has each node fetch the release's own"
        fields.complain("delivery", because, "write `delivery: baked`, or take `file` away")
    if k3s.airgap:
        because = "`airgap` is for nodes that reach no internet, and `delivery: download` has them fetch k3s from there"
        fields.complain("delivery", because, "write `delivery: baked`, or take `airgap` away")


def _registries(fields: Fields) -> tuple[Registry, ...]:
    found = fields.take("registries", mapping(kubernetes.registry, table(_registry)), {})
    if (every := found.get("*")) and (every.login or every.ca_file):
        message = "'*' stands for all registries, and a login or certificate is for one; only `endpoints` goes here"
        fields.complain("registries", message, "give the registry that it is for an entry of its own")
    return tuple(replace(registry, name=name) for name, registry in found.items())


def _registry(fields: Fields) -> Registry:
    registry = Registry(
        name="",
        endpoints=fields.take_all("endpoints", text(kubernetes.endpoint)),
        login=fields.take("login", table(_login), None),
        ca_file=fields.take("ca_file", text(names.file_path), ""),
    )
    if not any(fields.has(key) for key in ("endpoints", "login", "ca_file")):
        fields.place.complain(fields.line, "it says nothing of the registry", "give endpoints, login or ca_file")
    return registry


def _login(fields: Fields) -> RegistryLogin | None:
    username = fields.need("username", text(kubernetes.login_name), "")
    password = fields.need("password_file", secret_file, None)
    return RegistryLogin(username, password) if password else None
