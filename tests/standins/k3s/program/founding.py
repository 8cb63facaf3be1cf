"""How a server comes to its cluster: founding it, joining it, or coming back to it."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from . import cahash, certs
from .client import Caller
from .config import Settings
from .peers import write_bootstrap
from .store import Store, has_etcd, open_store
from .trust import trusted_bundle
from .words import Fatal, Places, Refused, say, write

_MISMATCH = "failed to validate server configuration: critical configuration value mismatch between servers"
_CRITICAL_TEXT = {"flannel-backend": "vxlan", "cluster-domain": "cluster.local", "egress-selector-mode": "agent"}
_CRITICAL_LIST = {"cluster-cidr": "10.42.0.0/16", "service-cidr": "10.43.0.0/16", "cluster-dns": "10.43.0.10"}
_CRITICAL_FLAG = ("secrets-encryption", "embedded-registry", "disable-network-policy", "disable-cloud-controller",
                  "disable-helm-controller", "flannel-ipv6-masq", "flannel-external-ip")  # fmt: skip


def critical(settings: Settings) -> dict[str, Any]:
    """What has to be the same on all servers."""
    found: dict[str, Any] = {key: settings.text(key, default) for key, default in _CRITICAL_TEXT.items()}
    found |= {key: settings.list(key) or [default] for key, default in _CRITICAL_LIST.items()}
    found |= {key: settings.flag(key) for key in _CRITICAL_FLAG}
    return found | {"disable": sorted(settings.list("disable"))}


def wants_etcd(settings: Settings, db: Path) -> bool:
    return settings.flag("cluster-init") or bool(settings.text("server")) or has_etcd(db)


class Founding:
    """One server's start, up to the point where it can serve; `token` is the password that counts afterwards."""

    def __init__(self, settings: Settings, places: Places, name: str, own_url: str) -> None:
        self.settings = settings
        self.places = places
        self.name = name
        self.own_url = own_url
        self.given = settings.secret("token") or self._kept_token()
        self.etcd = wants_etcd(settings, places.db)
        self.join: Caller | None = None
        self.store = self._come()

    def _come(self) -> Store:
        if self.settings.text("datastore-endpoint"):
            raise Fatal("the stand-in has no external datastore")
        url = self.settings.text("server")
        store = open_store(self.places.db, self.name, self.etcd)
        if store.get("bootstrap"):
            self._come_back(store)
        elif url:
            self._begin_joining(url, store)
        else:
            self._found(store)
        certs.check_authorities(self.places.tls)
        self._write_tokens()
        return store

    def _kept_token(self) -> str:
        kept = self.places.server / "token"
        return kept.read_text().strip() if kept.exists() else ""

    def _found(self, store: Store) -> None:
        tls = self.places.tls
        tls.mkdir(parents=True, exist_ok=True, mode=0o700)
        certs.own_authorities(tls)
        self.given = self.given or os.urandom(16).hex()
        token = cahash.parse_token(self.given)
        self._compare_own(token)
        salt = os.urandom(8).hex()
        store.put("token", f"{salt}:{_digest(salt, token.password)}")
        store.put("settings", critical(self.settings))
        if self.etcd:
            store.put("peers", os.urandom(16).hex())
            store.put(f"members/{self.name}", self.own_url)
        store.put("bootstrap", {name: (tls / name).read_text() for name in certs.BOOTSTRAP})
        say(f"a new cluster is founded here, datastore {'etcd' if self.etcd else 'sqlite'}")

    def _compare_own(self, token: cahash.Token) -> None:
        own = cahash.ca_hash((self.places.tls / "server-ca.crt").read_text())
        if token.hash and token.hash != own:
            raise Fatal(f"token CA hash does not match the Cluster CA certificate hash: {token.hash} != {own}")

    def _come_back(self, store: Store) -> None:
        if store.was_removed(f"members/{self.name}") or (self.etcd and not store.get(f"members/{self.name}")
                                                         and store.under("members/")):  # fmt: skip
            found = ", ".join(f"{name}={url}" for name, url in store.under("members/").items())
            raise Fatal(
                f"this server is not a member of the etcd cluster. Found [{found}], expect: {self.name}={self.own_url}"
            )
        self._compare_disk(store)
        token = cahash.parse_token(self.given)
        salt, _, digest = store.get("token").partition(":")
        if _digest(salt, token.password) != digest:
            raise Fatal(
                "failed to bootstrap cluster data: bootstrap data already found and encrypted with different token"
            )
        self._compare_own(token)
        if len(store.under("members/")) > 1:
            self._compare_settings(store.get("settings"))
        elif store.get("settings") != critical(self.settings):
            store.put("settings", critical(self.settings))
        if self.etcd and not store.get("peers"):
            store.put("peers", os.urandom(16).hex())  # it was sqlite before
        if self.etcd and store.get(f"members/{self.name}") != self.own_url:
            store.put(f"members/{self.name}", self.own_url)
        say("this server comes back to its cluster")

    def _begin_joining(self, url: str, store: Store) -> None:
        """Everything that is shared, from a server that is there; the member is added once this one can serve."""
        if not self.given:
            raise Fatal("--token is required to join a cluster")
        token = cahash.parse_token(self.given)
        try:
            bundle = trusted_bundle(url, token)
            self.join = Caller(bundle, token.user or "server", token.password)
            shared = json.loads(self.join.ask(url, "/v1-k3s/server-bootstrap"))
        except (OSError, Refused) as error:
            more = f": {error.body.strip()}" if isinstance(error, Refused) else ""
            raise Fatal(f"failed to bootstrap cluster data: failed to check if bootstrap data has been initialized: "
                        f"failed to validate token: {error}{more}") from error  # fmt: skip
        self._compare_settings(shared["settings"])
        if hashlib.sha256(self.tokens()["node"].encode()).hexdigest() != shared["agent-token"]:
            raise Fatal(f"{_MISMATCH}: agent-token")
        store.entries["bootstrap"] = (0, "", shared["files"])  # revision 0: what the member list brings is newer
        self._compare_disk(store)

    def finish_joining(self) -> None:
        if not self.join:
            return
        path = self.places.db / "etcd" / "name"  # joining again after a power cut is no second member
        if not path.exists():
            write(path, f"{self.name}-{os.urandom(4).hex()}")
        url, said = self.settings.text("server"), {"name": self.name, "url": self.own_url, "member": path.read_text()}
        try:
            answer = json.loads(self.join.ask(url, "/stand-in/join", "POST", said))
        except (OSError, Refused) as error:
            more = error.body.strip() if isinstance(error, Refused) else str(error)
            raise Fatal(f"etcd cluster join failed: {more}") from error
        self.join.close()
        self.store.merge(answer["entries"])
        say(f"joined the cluster of {url}")

    def _compare_settings(self, theirs: dict[str, Any]) -> None:
        own = critical(self.settings)
        differ = [
            f"{key}: {own.get(key)} here, {theirs.get(key)} there" for key in own if own.get(key) != theirs.get(key)
        ]
        if differ:
            raise Fatal(f"{_MISMATCH}: {'; '.join(differ)}")

    def _compare_disk(self, store: Store) -> None:
        tls = self.places.tls
        shared = store.get("bootstrap")
        differ = [str(tls / n) for n, text in shared.items() if (tls / n).exists() and (tls / n).read_text() != text]
        if differ:
            raise Fatal(
                f"{', '.join(differ)} newer than datastore and could cause a cluster outage. "
                "Remove the file(s) from disk and restart to be recreated from datastore."
            )
        if any(not (tls / name).exists() for name in shared):
            write_bootstrap(tls, store)

    def tokens(self) -> dict[str, str]:
        server = cahash.parse_token(self.given).password
        agent = self.settings.secret("agent-token")
        return {"server": server, "node": cahash.parse_token(agent).password if agent else server}

    def change_token(self, password: str) -> None:
        salt = os.urandom(8).hex()
        self.store.put("token", f"{salt}:{_digest(salt, password)}")
        self.given = password
        self._write_tokens()

    def _write_tokens(self) -> None:
        """server/token, agent-token and node-token, in full form, as k3s leaves them."""
        digest = cahash.ca_hash((self.places.tls / "server-ca.crt").read_text())
        tokens = self.tokens()
        write(self.places.server / "token", f"K10{digest}::server:{tokens['server']}\n")
        write(self.places.server / "agent-token", f"K10{digest}::node:{tokens['node']}\n")
        link = self.places.server / "node-token"
        if not link.is_symlink():
            link.symlink_to("token")


def _digest(salt: str, password: str) -> str:
    return hashlib.sha256(f"{salt}:{password}".encode()).hexdigest()
