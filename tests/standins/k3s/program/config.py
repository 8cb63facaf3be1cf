"""The settings of `k3s server` and `k3s agent`: files, environment and command line, as k3s puts them together."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import yamlish
from .words import Fatal, place

_AGENT_TEXT = """token token-file server data-dir node-name node-ip node-external-ip bind-address flannel-iface
flannel-conf flannel-cni-conf private-registry resolv-conf pause-image snapshotter container-
runtime-endpoint default-runtime image-service-endpoint image-credential-provider-bin-dir image-
credential-provider-config vpn-auth vpn-auth-file lb-server-port log v vmodule node-internal-dns
node-external-dns airgap-extra-registry system-default-registry"""
_AGENT_LIST = "node-label node-taint kubelet-arg kube-proxy-arg"
_AGENT_FLAG = """with-node-id prefer-bundled-bin protect-kernel-defaults selinux rootless docker debug alsologtostderr
disable-default-registry-endpoint nonroot-devices enable-pprof disable-apiserver-lb"""
_SERVER_TEXT = """https-listen-port supervisor-port advertise-address advertise-port cluster-domain
service-node-port-range flannel-backend egress-selector-mode servicelb-namespace write-kubeconfig write-kubeconfig-mode
write-kubeconfig-group helm-job-image agent-token agent-token-file datastore-endpoint datastore-cafile
datastore-certfile datastore-keyfile etcd-snapshot-name etcd-snapshot-schedule-cron etcd-snapshot-retention
etcd-snapshot-dir etcd-snapshot-reconcile-interval default-local-storage-path cluster-reset-restore-path
secrets-encryption-provider etcd-s3-endpoint etcd-s3-bucket etcd-s3-region etcd-s3-folder etcd-s3-access-key
etcd-s3-secret-key etcd-s3-config-secret etcd-s3-timeout"""
_SERVER_LIST = """tls-san cluster-cidr service-cidr cluster-dns disable kube-apiserver-arg kube-controller-manager-arg
kube-scheduler-arg kube-cloud-controller-manager-arg etcd-arg"""
_SERVER_FLAG = """cluster-init cluster-reset secrets-encryption embedded-registry disable-network-policy
disable-kube-proxy disable-cloud-controller disable-scheduler disable-helm-controller disable-apiserver
disable-controller-manager disable-etcd etcd-expose-metrics etcd-disable-snapshots etcd-snapshot-compress etcd-s3
flannel-ipv6-masq flannel-external-ip supervisor-metrics tls-san-security kine-tls"""
_SHORT = {"t": "token", "s": "server", "d": "data-dir", "c": "config"}
_ENVIRONMENT = {
    "K3S_URL": "server", "K3S_TOKEN": "token", "K3S_TOKEN_FILE": "token-file", "K3S_AGENT_TOKEN": "agent-token",
    "K3S_AGENT_TOKEN_FILE": "agent-token-file", "K3S_NODE_NAME": "node-name", "K3S_CLUSTER_INIT": "cluster-init",
    "K3S_KUBECONFIG_MODE": "write-kubeconfig-mode", "K3S_KUBECONFIG_OUTPUT": "write-kubeconfig",
    "K3S_DATA_DIR": "data-dir", "K3S_DATASTORE_ENDPOINT": "datastore-endpoint", "K3S_RESOLV_CONF": "resolv-conf",
}  # fmt: skip


def _kinds(command: str) -> dict[str, str]:
    kinds = dict.fromkeys(_AGENT_TEXT.split(), "text")
    kinds |= dict.fromkeys(_AGENT_LIST.split(), "list") | dict.fromkeys(_AGENT_FLAG.split(), "flag")
    if command == "server":
        kinds |= dict.fromkeys(_SERVER_TEXT.split(), "text")
        kinds |= dict.fromkeys(_SERVER_LIST.split(), "list") | dict.fromkeys(_SERVER_FLAG.split(), "flag")
    return kinds


@dataclass
class Settings:
    """What a server or an agent was told; keys are k3s's own names."""

    command: str
    values: dict[str, Any] = field(default_factory=dict)

    def text(self, key: str, default: str = "") -> str:
        return str(self.values.get(key) or default)

    def flag(self, key: str) -> bool:
        return bool(self.values.get(key, False))

    def list(self, key: str) -> list[str]:
        found: list[str] = self.values.get(key, [])
        return found

    def secret(self, key: str) -> str:
        """`token` or `agent-token`, given as itself or by the name of a file."""
        if self.text(key):
            return self.text(key)
        if not self.text(f"{key}-file"):
            return ""
        try:
            return place(self.text(f"{key}-file")).read_text().strip()
        except OSError as error:
            raise Fatal(f"{key}-file: {error}") from error


def load(command: str, arguments: list[str]) -> Settings:
    """Files first, then the environment, then the command line; a key that k3s does not know is an error."""
    kinds = _kinds(command)
    given = _arguments(arguments, kinds)
    main = place(given.pop("config", None) or os.environ.get("K3S_CONFIG_FILE") or "/etc/rancher/k3s/config.yaml")
    values: dict[str, Any] = {}
    for path in [main, *sorted(Path(f"{main}.d").glob("*.yaml"))]:
        if path.exists():
            _add_file(values, path, kinds)
    for name, key in _ENVIRONMENT.items():
        if os.environ.get(name) and key in kinds:
            values[key] = _typed(os.environ[name], key, kinds[key], name)
    return Settings(command, values | given)


def _add_file(values: dict[str, Any], path: Path, kinds: dict[str, str]) -> None:
    read = yamlish.mapping(path.read_text(), str(path))
    unknown = sorted(key for key in read if key.removesuffix("+") not in kinds)
    if unknown:
        raise Fatal(f"{path}: unknown key: {', '.join(unknown)}")
    for key, value in read.items():
        name = key.removesuffix("+")
        typed = _typed(value, name, kinds[name], str(path))
        if key.endswith("+"):
            if kinds[name] != "list":
                raise Fatal(f"{path}: {key}: only a list can be added to")
            typed = [*values.get(name, []), *typed]
        values[name] = typed


def _typed(value: Any, key: str, kind: str, where: str) -> Any:
    if kind == "list":
        items = value if isinstance(value, list) else str(value).split(",")
        if not all(isinstance(item, str) for item in items):
            raise Fatal(f"{where}: {key}: not a list of words")
        return [item for item in items if item]
    if isinstance(value, list) and kind == "text":
        value = ",".join(str(item) for item in value)
    if not isinstance(value, str):
        raise Fatal(f"{where}: {key}: not a single value")
    if kind == "text":
        return value
    if value.lower() not in ("true", "false"):
        raise Fatal(f"{where}: {key}: neither true nor false")
    return value.lower() == "true"


def _arguments(arguments: list[str], kinds: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.lstrip("-").partition("=")
        name = _SHORT.get(name, name) if not word.startswith("--") else name
        kind = "text" if name == "config" else kinds.get(name)
        if not word.startswith("-") or kind is None:
            raise Fatal(f"flag provided but not defined: {word}")
        if kind == "flag":
            found[name] = _typed(value if equals else "true", name, kind, "command line")
            continue
        if not equals:
            if not rest:
                raise Fatal(f"flag needs an argument: {word}")
            value = rest.pop(0)
        typed = _typed(value, name, kind, "command line")
        found[name] = [*found.get(name, []), *typed] if kind == "list" else typed
    return found
