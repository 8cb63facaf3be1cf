"""Reads `vpn:` of an inventory: its networks of ZeroTier and Hamachi. Called by `profile.cluster`.

What these mean for the nodes is checked by `vpn_checks`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from imagesmith.formats import zerotier
from imagesmith.model import Digest, Hamachi, Vpn, ZeroTier, ZeroTierApi
from imagesmith.model.vpn import STAYS_OUT
from imagesmith.profile import names
from imagesmith.profile.inventory import Entry
from imagesmith.profile.k3s import ARCHITECTURES
from imagesmith.profile.schema import Fields, boolean, choice, kept, listed, mapping, one_of, parsed, table, text
from imagesmith.profile.settings import secret_file

ROUTES = ("managed", "global", "default", "dns")
CENTRAL = "https://api.zerotier.com/api/v1"
CONTROLLER = "http://127.0.0.1:9993"
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


def read_vpn(fields: Fields) -> tuple[dict[str, Fields], Vpn]:
    """What is said, with the tables that say it."""
    no_zerotier: tuple[Fields | None, ZeroTier | None] = (None, None)
    no_hamachi: tuple[Fields | None, Hamachi | None] = (None, None)
    zerotier_fields, found = fields.take("zerotier", kept(_zerotier), no_zerotier)
    hamachi_fields, other = fields.take("hamachi", kept(_hamachi), no_hamachi)
    if not fields.has("zerotier") and not fields.has("hamachi"):
        fields.place.complain(fields.line, "it names no network", "give zerotier, or hamachi, or take it away")
    tables = {"zerotier": zerotier_fields, "hamachi": hamachi_fields}
    return {key: one for key, one in tables.items() if one}, Vpn(found, other)


def with_members(vpn: Vpn | None, entries: Iterable[Entry]) -> Vpn | None:
    """With the nodes that are to be in the ZeroTier network: all that do not say otherwise."""
    if vpn is None or vpn.zerotier is None:
        return vpn
    members = {entry.node.name: entry.zerotier for entry in entries if entry.zerotier != STAYS_OUT}
    return replace(vpn, zerotier=replace(vpn.zerotier, members=members))


def member_address(text: str) -> str:
    """A node's address in its ZeroTier network, or `none`."""
    if text.lower() in (STAYS_OUT, "no", "false"):
        return STAYS_OUT
    if "/" in text:
        raise ValueError(f"{text[:60]!r} has a prefix length; the network's own routes tell that: write 10.147.17.11")
    return names.ip_address(text)


def _zerotier(fields: Fields) -> ZeroTier | None:
    network = fields.need("network", text(zerotier.network_id), "")
    found = ZeroTier(
        network=network,
        routes=tuple(dict.fromkeys(fields.take("routes", listed(choice(*ROUTES)), ZeroTier(network).routes))),
        k3s=fields.take("k3s", boolean, False),
        api=_api(fields),
        files=fields.take("file", mapping(one_of(*ARCHITECTURES), text(_deb)), {}),
    )
    if "managed" not in found.routes and ("default" in found.routes or found.k3s):
        because = "k3s needs" if found.k3s else "a default route needs"
        fields.complain("routes", f"{because} the addresses that come with `managed`", "write it among the others")
    if "default" in found.routes and found.k3s:
        message = "`default` sends everything by the VPN, the VPN of k3s's own packets among it"
        fields.complain("routes", message, "take it away, or `k3s: true`")
    return found if network else None


def _api(fields: Fields) -> ZeroTierApi | None:
    central = fields.take("central", table(_central), None)
    controller = fields.take("controller", table(_controller), None)
    if fields.has("central") and fields.has("controller"):
        message = "a network has one controller: ZeroTier's own, which Central speaks for, or one that you run"
        fields.complain("controller", message, "keep the one that its members are let in by")
    return central or controller


def _central(fields: Fields) -> ZeroTierApi | None:
    url, token = fields.take("url", text(_api_url), CENTRAL), fields.need("token_file", secret_file, None)
    scheme: Any = fields.take("scheme", choice("token", "bearer"), "token")
    return ZeroTierApi("central", url, token, scheme) if token else None


def _controller(fields: Fields) -> ZeroTierApi | None:
    url, token = fields.take("url", text(_api_url), CONTROLLER), fields.need("token_file", secret_file, None)
    return ZeroTierApi("controller", url, token) if token else None


def _hamachi(fields: Fields) -> Hamachi | None:
    network = fields.need("network", text(_hamachi_network), "")
    nodes = fields.need_all("nodes", text(names.host_name))
    found = Hamachi(
        network,
        tuple(dict.fromkeys(nodes)),
        account=fields.take("account", text(_account), ""),
        password=fields.take("password_file", secret_file, None),
        file=fields.take("file", text(_deb), ""),
        url=fields.take("url", text(_hamachi_url), ""),
        digest=fields.take("sha256", parsed(_sha256), None),
    )
    _check_package(fields)
    return found if network else None


def _check_package(fields: Fields) -> None:
    if fields.has("file") == fields.has("url"):
        message = "the client is a package of LogMeIn's, in nobody's archive: where is it?"
        if fields.has("url"):
            message = "the package is at two places"
        hint = "`file:` names a .deb beside the inventory, `url:` and `sha256:` one that is fetched"
        fields.complain("url" if fields.has("url") else "file", message, hint)
    elif fields.has("url") and not fields.has("sha256"):
        hint = "look at the file first: sha256sum logmein-hamachi_*.deb"
        fields.complain("url", "nobody signs this package, so it needs the `sha256` that you trust", hint)
    elif fields.has("sha256") and not fields.has("url"):
        fields.complain("sha256", "this is for a package at `url`; a file beside the inventory is taken as it is")


# -- words ----------------------------------------------------------------------------------------


def _deb(written: str) -> str:
    if not written.endswith(".deb"):
        raise ValueError(f"{written[:80]!r} is no Debian package, whose name ends in .deb")
    return names.file_path(written)


def _api_url(written: str) -> str:
    """https, since the token goes there; http to this machine itself, where a tunnel may begin."""
    host = r"\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+"
    found = re.fullmatch(rf"(https?)://({host})(:[0-9]{{1,5}})?((?:/[A-Za-z0-9._~-]+)*)/?", written)
    if not found:
        raise ValueError(f"{written[:80]!r} is not an API's address, like {CENTRAL}")
    if found[1] == "http" and found[2].lower() not in _LOOPBACK:
        raise ValueError(
            f"{written[:80]!r} would carry the token in the clear; make a tunnel, "
            "ssh -N -L 9993:127.0.0.1:9993 CONTROLLER, and write http://127.0.0.1:9993"
        )
    return written.removesuffix("/")


def _hamachi_url(written: str) -> str:
    """Its last part tells what is there, as packages are named."""
    name = names.https_url(written).rpartition("/")[2]
    if not re.fullmatch(r"logmein-hamachi_[A-Za-z0-9.+~-]+_amd64\.deb", name):
        raise ValueError(f"{name[:80]!r} is not the package of a PC, named like logmein-hamachi_2.1.0.203-1_amd64.deb")
    return written


def _hamachi_network(written: str) -> str:
    if not re.fullmatch(r"[0-9]{3}-[0-9]{3}-[0-9]{3}|[A-Za-z0-9][A-Za-z0-9 ._-]{2,63}", written):
        raise ValueError(f"{written[:60]!r} is no network of Hamachi; write its id, like 123-456-789, or its name")
    return written


def _account(written: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._%+-]*@[A-Za-z0-9.-]+", written):
        raise ValueError(f"{written[:80]!r} is not the e-mail address of an account")
    return written


def _sha256(written: str) -> Digest:
    if not re.fullmatch(r"[0-9a-fA-F]{64}", written):
        raise ValueError(f"{written[:80]!r} is no sha256, which has 64 hex digits")
    return Digest("sha256", written.lower())
