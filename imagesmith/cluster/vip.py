"""The address that one server after the other answers on: kube-vip, as a manifest that every server applies.

Called by `cluster.contents`. Pure. It is for who talks to the cluster; nodes join by the servers' own addresses, since
nobody holds this one before the cluster is there.
"""

from __future__ import annotations

import ipaddress

from imagesmith.cluster.parts import vip_interfaces
from imagesmith.errors import Problem
from imagesmith.model import Edit, MakeDir, Materials, Part, Profile, Promise, PutFile
from imagesmith.profile.recipe import image_name, image_tag
from imagesmith.profile.schema import Fields, read_document, settle, text

MANIFESTS = "/var/lib/rancher/k3s/server/manifests"
MANIFEST = f"{MANIFESTS}/imagesmith-kube-vip.yaml"
"""k3s names what it applies by the file: a name as RFC 1123 has it, and none of its own."""
RELEASE = "profiles/cluster/kube-vip.yaml"
_TEMPLATE = "firstboot/cluster/kube-vip.yaml"


def edits(part: Part, profile: Profile, materials: Materials) -> tuple[Edit, ...]:
    """The manifest on every server; nothing where no such address is wanted. Raises DocumentInvalid for RELEASE."""
    if part.sealed is None or part.duty == "agent" or not part.cluster.network.vip:
        return ()
    return (
        MakeDir("root", MANIFESTS.rpartition("/")[0], 0o700),
        MakeDir("root", MANIFESTS, 0o700),
        PutFile("root", MANIFEST, manifest(part, materials), 0o600),
    )


def promises(part: Part) -> tuple[Promise, ...]:
    """None: the address is held once the cluster is there, which a machine alone never shows."""
    return ()


def packages(part: Part) -> tuple[str, ...]:
    return ()


def manifest(part: Part, materials: Materials) -> bytes:
    """The manifest with the cluster's address in it: the same on all servers, or each would undo the others'."""
    network, interfaces = part.cluster.network, vip_interfaces(part)
    values = {
        "IMAGE": _image(materials.files[RELEASE].decode()),
        "ADDRESS": network.vip,
        "PREFIX": str(ipaddress.ip_address(network.vip).max_prefixlen),
        "INTERFACE": interfaces[0] if len(interfaces) == 1 else "",
    }
    made = materials.files[_TEMPLATE].decode()
    for name, value in values.items():
        made = made.replace(f"@{name}@", value)
    return made.encode()


def _image(content: str) -> str:
    problems: list[Problem] = []

    def read(fields: Fields) -> str:
        return f"{fields.need('image', text(image_name), '')}:{fields.need('version', text(image_tag), '')}"

    return settle(read_document(content, RELEASE, read, problems), problems)
