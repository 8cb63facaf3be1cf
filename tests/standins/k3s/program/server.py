"""`k3s server`: from its settings to an API that answers, with a node of its own."""

from __future__ import annotations

import base64
import ipaddress
import json
import os
import socket
import threading
from pathlib import Path

from . import certs, vip
from .agent import Agent, address_towards, check_kubelet, node_name
from .api import Api
from .config import Settings
from .founding import Founding
from .nodes import Nodes
from .peers import Peers
from .snapshots import reset
from .supervisor import Supervisor
from .web import Door
from .words import Fatal, Places, notify, place, say, write

ADMIN = "/O=system:masters/CN=system:admin"


class Server:
    """One server, started by `run`; `stop` ends it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.places = Places(settings.text("data-dir"))
        self.name = node_name(settings)
        self.port = int(settings.text("https-listen-port", "6443"))
        self.bind = settings.text("bind-address", "0.0.0.0")
        own = "" if self.bind == "0.0.0.0" else self.bind
        self.ip = settings.text("node-ip") or own or _default_address()
        self.url = f"https://{_host(settings.text('advertise-address') or self.ip.partition(',')[0])}:{self.port}"
        self.local = f"https://{_host(own or '127.0.0.1')}:{self.port}"
        self.holder: vip.Holder | None = None

    def run(self, stop: threading.Event) -> None:
        if self.settings.flag("cluster-reset"):
            reset(self.places, self.name, self.url, self.settings.text("cluster-reset-restore-path"))
            return
        check_kubelet(self.places, self.settings.text("flannel-iface"))
        (self.places.db / "reset-flag").unlink(missing_ok=True)
        founding = Founding(self.settings, self.places, self.name, self.url)
        nodes = Nodes(founding.store)
        peers = Peers(self.name, founding.store, nodes, self.places.tls, founding.etcd)
        api = Api(nodes, peers.has_quorum, peers.remove)
        supervisor = Supervisor(self.places.tls, nodes, peers, api, founding.tokens(), founding.etcd)
        supervisor.own_urls = [self.url]
        own_token = (self.places.server / "agent-token").read_text().strip()
        agent = Agent(self.settings, own_token, [self.local], local=True)
        pair = self._serving_pair()
        door = Door(self.bind, self.port, pair, self.places.tls / "client-ca.crt", supervisor.answer)

        def change_token(password: str) -> None:
            founding.change_token(password)
            supervisor.tokens = founding.tokens()

        supervisor.token_changed = change_token
        _background(door.serve_forever, 0.2)
        founding.finish_joining()
        _background(peers.run, stop)
        self._write_kubeconfig()
        self._write_encryption()
        self._start_vip(peers, stop)
        self._serve(agent, peers, stop)
        door.shutdown()
        if self.holder:
            self.holder.release()

    def _serve(self, agent: Agent, peers: Peers, stop: threading.Event) -> None:
        while not peers.has_quorum() and not stop.wait(0.3):
            pass
        if stop.is_set():
            return
        say(f"the API serves on {self.bind}:{self.port}, known to others as {self.url}")
        notify("READY=1")
        _background(agent.run, stop)
        while not stop.wait(0.3):
            if peers.removed.is_set():
                stop.wait(2)  # so that the others hear of it, when it was removed here
                if self.holder:
                    self.holder.release()
                raise Fatal("this server is not a member of the etcd cluster any more: it was removed")

    def _serving_pair(self) -> tuple[Path, Path]:
        out = self.places.tls / "serving-kube-apiserver"
        names = dict.fromkeys([*_own_names(self.settings), self.name, socket.gethostname(), *self.ip.split(",")])
        said = [f"IP:{name}" if _is_address(name) else f"DNS:{name}" for name in names if name]
        certs.leaf(self.places.tls, "server-ca", out, "/O=k3s/CN=k3s", "serverAuth", said)
        return out.with_suffix(".crt"), out.with_suffix(".key")

    def _write_kubeconfig(self) -> None:
        """k3s.yaml for the administrator of this node."""
        tls = self.places.tls
        crt, key = certs.leaf(tls, "client-ca", tls / "client-admin", ADMIN, "clientAuth", [])
        ca = (tls / "server-ca.crt").read_text()
        path = place(self.settings.text("write-kubeconfig", "/etc/rancher/k3s/k3s.yaml"))
        values = [base64.b64encode(text.encode()).decode() for text in (ca, crt, key)]
        write(path, _KUBECONFIG.format(self.local, *values), int(self.settings.text("write-kubeconfig-mode", "600"), 8))

    def _write_encryption(self) -> None:
        path = self.places.server / "cred" / "encryption-config.json"
        if self.settings.flag("secrets-encryption") and not path.exists():
            write(path, json.dumps({"stand-in": True, "key": os.urandom(32).hex()}))

    def _start_vip(self, peers: Peers, stop: threading.Event) -> None:
        found = vip.wanted(self.places.manifests)
        if found:
            self.holder = vip.Holder(*found, peers)
            _background(self.holder.run, stop)


_KUBECONFIG = """\
# of the k3s stand-in
apiVersion: v1
clusters:
- cluster:
    server: {0}
    certificate-authority-data: {1}
  name: default
contexts:
- context:
    cluster: default
    user: default
  name: default
current-context: default
kind: Config
preferences: {{}}
users:
- name: default
  user:
    client-certificate-data: {2}
    client-key-data: {3}
"""


def _own_names(settings: Settings) -> list[str]:
    """What a server may be called, beside its name and address."""
    services = ipaddress.ip_network((settings.list("service-cidr") or ["10.43.0.0/16"])[0])
    domain = settings.text("cluster-domain", "cluster.local")
    names = ["127.0.0.1", "::1", "localhost", str(services[1]), "kubernetes", "kubernetes.default"]
    names += ["kubernetes.default.svc", f"kubernetes.default.svc.{domain}"]
    given = [settings.text("advertise-address"), settings.text("bind-address"), settings.text("node-external-ip")]
    return [*names, *(one for one in given if one and one != "0.0.0.0"), *settings.list("tls-san")]


def _default_address() -> str:
    try:
        return address_towards("192.0.2.1")
    except OSError as error:
        raise Fatal("unable to select an IP from default routes: there is none, and no node-ip") from error


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _background(work: object, *arguments: object) -> None:
    threading.Thread(target=work, args=arguments, daemon=True).start()  # type: ignore[arg-type]
