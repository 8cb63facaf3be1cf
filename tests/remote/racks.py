"""Two servers and an agent of the tests' own that run, their inventory and its vault, for tests that change them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from remote.machines import USER, Machine, machines

from imagesmith.model import Cluster, K3s, Network, Node, Settings, SshAccess
from imagesmith.secret import Secret
from imagesmith.vault.index import read_index
from imagesmith.workflow import vault as work
from imagesmith.workflow.doing import Agree
from imagesmith.workflow.foreign import take
from imagesmith.workflow.nodes import Rack

DUTIES = {"s-1": "founder", "s-2": "server", "a-1": "agent"}


def _nobody(what: str, new: bool) -> Secret:
    raise AssertionError(f"asked for {what}")


@dataclass
class Running:
    rack: Rack
    machines: dict[str, Machine]
    cluster: Path
    """What the stand-ins for k3s share."""
    opening: work.Opening = field(default_factory=lambda: work.Opening(_nobody))
    shown: list[str] = field(default_factory=list)

    @property
    def vault(self) -> Path:
        assert self.rack.vault
        return self.rack.vault

    def agree(self, yes: bool = True) -> Agree:
        def answer(lines: object) -> bool:
            assert isinstance(lines, list)
            self.shown += lines
            return yes

        return answer

    def secret(self, name: str) -> str:
        """As the vault has it now."""
        return work.Opening(_nobody).vault(self.vault).open(name).reveal().decode()

    def fact(self, name: str) -> str:
        return read_index(self.vault).facts.get(name, "")

    def calls(self, *among: str) -> list[str]:
        """What was asked of all machines as root, machine by machine, where it holds one of these words."""
        return [
            f"{name}: {call}"
            for name, machine in self.machines.items()
            for call in machine.calls
            if any(word in call for word in among)
        ]


@contextmanager
def running_rack(folder: Path, datastore: str = "etcd") -> Iterator[Running]:
    with machines(folder, {name: "agent" if duty == "agent" else "server" for name, duty in DUTIES.items()}) as found:
        cluster = _inventory(found, datastore)
        vault = folder / "cluster.vault"
        opening = work.Opening(_nobody)
        work.create(vault, opening, "plain", work.names_for((), cluster))
        for name, machine in found.items():
            key = Secret((machine.folder / "host").read_bytes())
            take(vault, f"nodes/{name}/host-key.ed25519", key, "test", replace=False)
        signing = opening(vault)("cluster/service-account-key").reveal().decode()
        for name in (name for name, duty in DUTIES.items() if duty != "agent"):
            found[name].write("var/lib/rancher/k3s/server/tls/service.key", signing)
        identity = next(iter(found.values())).identity
        yield Running(Rack(cluster, vault, DUTIES, identity), found, folder / "cluster")


def _inventory(found: dict[str, Machine], datastore: str) -> Cluster:
    settings = Settings(user=USER)
    nodes = tuple(
        Node(name, "qemu-x86-server" if DUTIES[name] != "agent" else "qemu-x86-worker",
             network=Network(f"{machine.address}/8"), settings=settings, cluster="rack")
        for name, machine in found.items()
    )  # fmt: skip
    port = next(iter(found.values())).port
    k3s = K3s(datastore="etcd" if datastore == "etcd" else "sqlite")
    return Cluster("rack", "", nodes, k3s=k3s, ssh=SshAccess(port=port))
