"""A node: it comes to trust a server, gets its certificates, registers itself and then tells that it is alive."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import random
import socket
import ssl
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from . import cahash, yamlish
from .client import Caller
from .config import Settings
from .trust import trusted_bundle
from .words import PACE, ROOT, Fatal, Places, Refused, notify, place, say, write

BEAT_S = 4.0 * PACE
_PAIRS = ("serving-kubelet", "client-kubelet", "client-kube-proxy", "client-k3s-controller")
_OWN_LABELS = {"kubernetes.io/hostname", "kubernetes.io/arch", "kubernetes.io/os", "beta.kubernetes.io/arch",
               "beta.kubernetes.io/os", "node.kubernetes.io/instance-type", "beta.kubernetes.io/instance-type",
               "topology.kubernetes.io/region", "topology.kubernetes.io/zone",
               "failure-domain.beta.kubernetes.io/region", "failure-domain.beta.kubernetes.io/zone"}  # fmt: skip


def node_name(settings: Settings) -> str:
    name = (settings.text("node-name") or socket.gethostname()).lower()
    if settings.flag("with-node-id"):
        path = place("/etc/rancher/node/id")
        if not path.exists():
            write(path, os.urandom(4).hex(), 0o644)
        name += f"-{path.read_text().strip()}"
    return name


def address_towards(host: str) -> str:
    """The own address from which packets to `host` would leave; nothing is sent. OSError where none would."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, 9))
        return str(probe.getsockname()[0])


class Agent:
    """One node's agent. `local` is a server's own, which speaks to that server alone."""

    def __init__(self, settings: Settings, token: str, servers: list[str], local: bool) -> None:
        self.places = Places(settings.text("data-dir"))
        self.name = node_name(settings)
        self.token = token
        self.local = local
        self.known = self.places.agent / "etc" / "k3s-agent-load-balancer.json"
        self.servers = servers if local else list(dict.fromkeys([*servers, *self._remembered()]))
        self.ip = settings.text("node-ip") or settings.text("bind-address")
        self.facts = _facts(settings, self.name, local)

    def run(self, stop: threading.Event) -> None:
        """Until `stop`; whatever fails is said and tried again, as an agent waits for its server for days."""
        while not stop.is_set():
            try:
                caller = self._connect()
                self._register_and_beat(caller, stop)
            except Fatal as error:
                say(str(error), "error")
            except (OSError, Refused, ValueError) as error:
                said = f": {error.body.strip()[:300]}" if isinstance(error, Refused) and error.body else ""
                say(f"Failed to validate connection to cluster at {self.servers[0]}: {error}{said}", "error")
                self.servers = [*self.servers[1:], self.servers[0]]
            stop.wait(random.uniform(2.0, 4.0) * PACE)  # jitter: a whole rack may be waiting

    def _connect(self) -> Caller:
        """From a token to a client certificate of one's own."""
        url, folder = self.servers[0], self.places.agent
        token = cahash.parse_token(self.token) if self.token else cahash.Token("", "", "")
        pair = self._loadable_pair()
        if not self.token and not pair:
            raise Fatal("token must not be empty")
        bundle = trusted_bundle(url, token)
        user = (token.user or "node") if self.token else ""
        caller = Caller(bundle, user, token.password, None if self.token else pair)
        self.ip = self.ip or address_towards(urlsplit(url).hostname or "")
        headers = {"k3s_Node_Name": self.name, "k3s_Node_Password": self._password(), "k3s_Node_IP": self.ip}
        try:
            for name in _PAIRS:
                _keep_pair(
                    folder, name, caller.ask(url, f"/v1-k3s/{name}.crt", **(headers if "kubelet" in name else {}))
                )
            for name in ("client-ca.crt", "server-ca.crt"):
                write(folder / name, caller.ask(url, f"/v1-k3s/{name}"), 0o644)
            caller.ask(url, "/v1-k3s/config")
            found = json.loads(caller.ask(url, "/v1-k3s/apiservers"))
            caller.ask(url, "/v1-k3s/readyz")
        finally:
            caller.close()
        self._remember([f"https://{one}" for one in found])
        return Caller((folder / "server-ca.crt").read_text() if bundle else None, pair=self._loadable_pair())

    def _register_and_beat(self, caller: Caller, stop: threading.Event) -> None:
        self._beat(caller, register=True)
        say(f"node {self.name} ({self.ip}) registered with {self.servers[0]}")
        if not self.local:
            notify("READY=1")
        while not stop.wait(BEAT_S):
            self._beat(caller, register=False)
        caller.close()

    def _beat(self, caller: Caller, register: bool) -> None:
        """To the first server that takes it."""
        said = {**self.facts, "ip": self.ip, "register": True} if register else {"name": self.name}
        last: Exception = OSError("no server")
        for url in list(self.servers):
            try:
                answer = json.loads(caller.ask(url, "/stand-in/beat", "POST", said, timeout=5))
            except (OSError, Refused) as error:
                last = error
                if isinstance(error, Refused) and error.code == 404:
                    say(f'Error updating node status: nodes "{self.name}" not found', "error")
                    return
                say(f"server {url} does not take a heartbeat: {error}", "warning")
                continue
            if url != self.servers[0]:
                say(f"Updating load balancer: {url} serves now")
                self.servers = [url, *(one for one in self.servers if one != url)]
            self._remember(answer["servers"])
            return
        if register:
            raise last

    def _remembered(self) -> list[str]:
        with contextlib.suppress(OSError, ValueError, KeyError):
            return [f"https://{one}" for one in json.loads(self.known.read_text())["ServerAddresses"]]
        return []

    def _remember(self, found: list[str]) -> None:
        """The cluster's servers, in case the configured one is not there any more."""
        if self.local or (set(found) <= set(self.servers) and self.known.exists()):
            return
        self.servers = list(dict.fromkeys([*self.servers, *found]))
        addresses = [url.removeprefix("https://") for url in self.servers]
        write(self.known, json.dumps({"ServerURL": self.servers[0], "ServerAddresses": addresses}))

    def _password(self) -> str:
        path = place("/etc/rancher/node/password")
        if not path.exists():
            write(path, os.urandom(16).hex() + "\n")
        return path.read_text().strip()

    def _loadable_pair(self) -> tuple[Path, Path] | None:
        pair = self.places.agent / "client-kubelet.crt", self.places.agent / "client-kubelet.key"
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(*pair)
        except (OSError, ssl.SSLError):
            return None
        return pair


def _keep_pair(folder: Path, name: str, answer: str) -> None:
    crt, key = _split_pair(answer)
    write(folder / f"{name}.key", key)
    write(folder / f"{name}.crt", crt, 0o644)


def _split_pair(answer: str) -> tuple[str, str]:
    """Certificate chain and key, as `/v1-k3s/*.crt` answers them together."""
    at = answer.rfind("-----BEGIN", 0, answer.rfind("PRIVATE KEY-----", 0, answer.rfind("-----END")))
    if at < 0:
        raise Refused("no private key in the answer")
    return answer[:at], answer[at:]


def check_kubelet(places: Places, interface: str) -> None:
    """What k3s would stumble over: its kubelet's and containerd's files, flannel's interface, the memory controller."""
    for path in sorted((places.agent / "etc" / "kubelet.conf.d").glob("*.conf")):
        found = yamlish.mapping(path.read_text(), str(path))
        if found.get("kind") != "KubeletConfiguration":
            raise Fatal(f"failed to load kubelet config file {path}: no KubeletConfiguration")
    registries = place("/etc/rancher/k3s/registries.yaml")
    if registries.exists():
        unknown = set(yamlish.mapping(registries.read_text(), str(registries))) - {"mirrors", "configs", "auths"}
        if unknown:
            raise Fatal(f"{registries}: unknown key: {', '.join(sorted(unknown))}")
    if not ROOT and interface and not Path("/sys/class/net", interface).exists():
        raise Fatal(f"failed to find interface {interface}: no such network interface")
    controllers = place("/sys/fs/cgroup/cgroup.controllers")
    if controllers.exists() and "memory" not in controllers.read_text().split():
        raise Fatal("failed to find memory cgroup (v2)")
    for images in sorted((places.agent / "images").glob("*")):
        say(f"images would be imported from {images} ({images.stat().st_size} bytes)")


def _facts(settings: Settings, name: str, server: bool) -> dict[str, Any]:
    system = "Linux"
    with contextlib.suppress(OSError):
        lines = Path("/etc/os-release").read_text().splitlines()
        system = next(line[12:].strip('"') for line in lines if line.startswith("PRETTY_NAME="))
    machine, boot = place("/etc/machine-id"), Path("/proc/sys/kernel/random/boot_id")
    architecture = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}.get(platform.machine(), platform.machine())
    return {
        "name": name, "external": settings.text("node-external-ip"), "server": server,
        "labels": _labels(settings.list("node-label")), "taints": [_taint(one) for one in settings.list("node-taint")],
        "system": system, "kernel": platform.release(), "architecture": architecture, "cpus": os.cpu_count() or 1,
        "memory": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 1024,
        "machine_id": machine.read_text().strip() if machine.exists() else "", "boot_id": boot.read_text().strip(),
    }  # fmt: skip


def _labels(words: list[str]) -> dict[str, str]:
    labels = {key: value for key, _, value in (word.partition("=") for word in words)}
    refused = sorted(key for key in labels if _is_reserved(key))
    if refused:
        raise Fatal(
            "failed to run Kubelet: unknown 'kubernetes.io' or 'k8s.io' labels specified with --node-labels: "
            f"[{' '.join(refused)}]"
        )
    return labels


def _is_reserved(key: str) -> bool:
    prefix = key.rpartition("/")[0]
    reserved = any(prefix == end or prefix.endswith(f".{end}") for end in ("kubernetes.io", "k8s.io"))
    own = any(prefix == end or prefix.endswith(f".{end}") for end in ("kubelet.kubernetes.io", "node.kubernetes.io"))
    return reserved and not own and key not in _OWN_LABELS


def _taint(word: str) -> dict[str, str]:
    rest, _, effect = word.rpartition(":")
    key, equals, value = rest.partition("=")
    if not key or effect not in ("NoSchedule", "PreferNoSchedule", "NoExecute"):
        raise Fatal(f"invalid taint spec: {word}")
    return {"key": key, "effect": effect, **({"value": value} if equals else {})}
