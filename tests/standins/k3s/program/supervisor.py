"""What a k3s server answers beside the Kubernetes API: its authorities, certificates for nodes, other servers."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from pathlib import Path
from typing import Any

from . import cahash, certs
from .api import ADMINS, NODES, Api
from .nodes import Nodes
from .peers import PEER, Peers, peer_password, write_bootstrap
from .web import Answer, Call, Who, text
from .words import say

SERVER, AGENT = "k3s:server", "k3s:agent"
_USAGES = {"serving": "serverAuth", "client": "clientAuth"}


class Supervisor:
    """One server's answers. `tokens` are the passwords of the users `server` and `node`."""

    def __init__(self, tls: Path, nodes: Nodes, peers: Peers, api: Api, tokens: dict[str, str], etcd: bool) -> None:
        self.tls = tls
        self.nodes = nodes
        self.store = nodes.store
        self.peers = peers
        self.api = api
        self.tokens = tokens
        self.etcd = etcd
        self.own_urls: list[str] = []
        self.token_changed: Any = None

    def answer(self, call: Call) -> Answer:
        if call.path == "/ping":
            return text(200, "pong")
        if call.path == "/cacerts":
            return text(200, (self.tls / "server-ca.crt").read_text())
        if not call.path.startswith(("/v1-k3s/", "/stand-in/")):
            return self.api.answer(call)
        groups = self._groups(call.who)
        if not groups:
            return text(401, "Unauthorized")
        name = call.path.rpartition("/")[2].replace("-", "_").replace(".", "_")
        head = "_v1" if call.path.startswith("/v1-k3s/") else "_own"
        if head == "_v1" and not {SERVER, AGENT, NODES, ADMINS} & set(groups):
            return text(403, "Forbidden")
        answer = getattr(self, f"{head}_{name}", None)
        return answer(call, groups) if answer else text(404, "404 page not found")

    def _groups(self, who: Who | None) -> tuple[str, ...]:
        """What a caller belongs to; nothing when it is nobody."""
        if who is None:
            return ()
        if who.password is None:
            return who.groups
        known = {**self.tokens, PEER: peer_password(self.store)}
        if who.name not in known or not hmac.compare_digest(known[who.name].encode(), who.password.encode()):
            return ()
        return {"server": (SERVER, AGENT), "node": (AGENT,), PEER: (PEER,)}[who.name]

    def _v1_server_ca_crt(self, call: Call, groups: tuple[str, ...]) -> Answer:
        return text(200, (self.tls / "server-ca.crt").read_text())

    def _v1_client_ca_crt(self, call: Call, groups: tuple[str, ...]) -> Answer:
        return text(200, (self.tls / "client-ca.crt").read_text())

    def _v1_readyz(self, call: Call, groups: tuple[str, ...]) -> Answer:
        return text(200, "ok") if self.peers.has_quorum() else text(503, "etcdserver: no leader")

    def _v1_config(self, call: Call, groups: tuple[str, ...]) -> Answer:
        return Answer(200, {"stand-in": True, **self.store.get("settings")})

    def _v1_apiservers(self, call: Call, groups: tuple[str, ...]) -> Answer:
        members = list(self.peers.members().values()) or self.own_urls
        return Answer(200, json.dumps([url.removeprefix("https://") for url in members]))

    def _v1_server_bootstrap(self, call: Call, groups: tuple[str, ...]) -> Answer:
        if SERVER not in groups:
            return text(403, "Forbidden: the node token can not be used to join a server")
        if not self.etcd:
            return text(400, "etcd disabled: this server's datastore is sqlite, no server can join it")
        if not self.peers.has_quorum():
            return text(503, "etcdserver: no leader")
        agent_token = hashlib.sha256(self.tokens["node"].encode()).hexdigest()
        shared = {"files": self.store.get("bootstrap"), "settings": self.store.get("settings")}
        return Answer(200, {**shared, "agent-token": agent_token})

    def _v1_serving_kubelet_crt(self, call: Call, groups: tuple[str, ...]) -> Answer:
        addresses = [part for part in (call.headers.get("k3s-Node-IP") or "").split(",") if part]
        name = (call.headers.get("k3s-Node-Name") or "").lower()
        names = [f"DNS:{name}", "DNS:localhost", "IP:127.0.0.1", *(f"IP:{one}" for one in addresses)]
        return self._node_leaf(call, groups, "server-ca", f"/CN={name}", "serving-kubelet", names)

    def _v1_client_kubelet_crt(self, call: Call, groups: tuple[str, ...]) -> Answer:
        name = (call.headers.get("k3s-Node-Name") or "").lower()
        return self._node_leaf(call, groups, "client-ca", f"/O={NODES}/CN=system:node:{name}", "client-kubelet", [])

    def _v1_client_kube_proxy_crt(self, call: Call, groups: tuple[str, ...]) -> Answer:
        return self._leaf("client-ca", self.tls / "client-kube-proxy", "/CN=system:kube-proxy", "client", [])

    def _v1_client_k3s_controller_crt(self, call: Call, groups: tuple[str, ...]) -> Answer:
        return self._leaf("client-ca", self.tls / "client-k3s-controller", "/CN=system:k3s-controller", "client", [])

    def _node_leaf(
        self, call: Call, groups: tuple[str, ...], authority: str, subject: str, kind: str, names: list[str]
    ) -> Answer:
        refusal = self._check_node(call, groups)
        if refusal:
            return refusal
        name = call.headers["k3s-Node-Name"].lower()
        return self._leaf(authority, self.tls / "nodes" / f"{kind}-{name}", subject, kind.partition("-")[0], names)

    def _leaf(self, authority: str, out: Path, subject: str, usage: str, names: list[str]) -> Answer:
        crt, key = certs.leaf(self.tls, authority, out, subject, _USAGES[usage], names)
        return text(200, crt.rstrip() + "\n" + key)

    def _check_node(self, call: Call, groups: tuple[str, ...]) -> Answer | None:
        """The node password: whoever came first under a name keeps it."""
        name = (call.headers.get("k3s-Node-Name") or "").lower()
        password = call.headers.get("k3s-Node-Password") or ""
        if not name or not password:
            return text(400, "node name not set" if not name else "node password not set")
        if not all(sign.isalnum() or sign in ".-" for sign in name):
            return text(400, "invalid node name")
        if NODES in groups and AGENT not in groups and (call.who is None or call.who.name != f"system:node:{name}"):
            return text(403, "Forbidden")
        if not self.peers.has_quorum():
            return text(503, "etcdserver: no leader")
        stored = self.store.get(f"passwords/{name}")
        if stored is None:
            salt = os.urandom(8).hex()
            self.store.put(f"passwords/{name}", f"{salt}:{_digest(salt, password)}")
        elif not hmac.compare_digest(stored.partition(":")[2], _digest(stored.partition(":")[0], password)):
            say(f"node password not valid for {name}", "error")
            return text(
                403,
                "Node password rejected, duplicate hostname or contents of '/etc/rancher/node/password' may not match "
                "server node-passwd entry, try enabling a unique node name with the --with-node-id flag",
            )
        return None

    def _own_beat(self, call: Call, groups: tuple[str, ...]) -> Answer:
        """A node's sign of life; the first of a start registers it."""
        said = call.document()
        name = said["name"]
        if call.who is None or NODES not in groups or call.who.name != f"system:node:{name}":
            return text(403, "Forbidden")
        if not self.peers.has_quorum():
            return text(503, "etcdserver: no leader")
        if said.get("register"):
            roles = [] if not said["server"] else ["control-plane", "etcd"] if self.etcd else ["control-plane"]
            self.nodes.register(name, said, roles)
        elif self.store.get(f"nodes/{name}") is None:
            return text(404, f'nodes "{name}" not found')
        self.nodes.beat(name)
        return Answer(200, {"servers": list(self.peers.members().values()) or self.own_urls})

    def _own_exchange(self, call: Call, groups: tuple[str, ...]) -> Answer:
        return Answer(200, self.peers.answer(call.document())) if PEER in groups else text(403, "Forbidden")

    def _own_join(self, call: Call, groups: tuple[str, ...]) -> Answer:
        """A new member, unless its name is one's already."""
        if SERVER not in groups:
            return text(403, "Forbidden")
        if not self.peers.has_quorum():
            return text(503, "etcdserver: no leader")
        said = call.document()
        if said["name"] in self.peers.members() and self.store.get(f"joins/{said['name']}") != said["member"]:
            return text(409, "duplicate node name found, please use a unique name for this node")
        self.store.put(f"joins/{said['name']}", said["member"])
        self.peers.add(said["name"], said["url"])
        return Answer(200, {"entries": self.store.newer_than({})})

    def _own_token(self, call: Call, groups: tuple[str, ...]) -> Answer:
        """`k3s token rotate`: the new one counts here at once, on other servers when they are started with it."""
        if ADMINS not in groups:
            return text(403, "Forbidden")
        said = call.document()
        if not hmac.compare_digest(cahash.parse_token(said["old"]).password, self.tokens["server"]):
            return text(403, "the current token is not right")
        self.token_changed(cahash.parse_token(said["new"]).password)
        return text(200, "ok")

    def _own_authorities(self, call: Call, groups: tuple[str, ...]) -> Answer:
        """`k3s certificate rotate-ca`: kept in the datastore and on every server's disk; used after a restart."""
        if ADMINS not in groups:
            return text(403, "Forbidden")
        said = call.document()
        kept = (self.tls / "server-ca.crt").read_text()
        if cahash.ca_hash(said["files"].get("server-ca.crt", kept)) != cahash.ca_hash(kept) and not said["force"]:
            return text(400, "new CA bundle is not signed by the current root, use --force to bypass this check")
        self.store.put("bootstrap", {**self.store.get("bootstrap"), **said["files"]})
        write_bootstrap(self.tls, self.store)
        return text(200, "ok")


def _digest(salt: str, password: str) -> str:
    return hashlib.sha256(f"{salt}:{password}".encode()).hexdigest()
