"""A person's folder: the inventory, its vault and images, and all that there is before the first power-on.

Used by `rack.running`, `rack.demo` and the lanes. It runs `imagesmith` as a program; everything lies in one folder.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rack.k3s_program import K3sProgram


class CommandFailed(Exception):
    """A command of the person at the desk ended badly: what was typed and what it said."""


@dataclass
class Desk:
    """A folder, new or as it was left, with an inventory; its KEY and K3S become a key's line and the path of `k3s`."""

    folder: Path
    inventory: str
    k3s: K3sProgram | None = None
    shown: bool = False
    """Whether what imagesmith says goes to our own output, too."""
    env: Mapping[str, str] | None = None
    """Of imagesmith; else our own."""
    key: Path = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.key = self.folder / "key"
        if not self.key.exists():
            made = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "rack", "-f", str(self.key)]
            subprocess.run(made, check=True, stdin=subprocess.DEVNULL)
        text = self.inventory.replace("KEY", self.key.with_suffix(".pub").read_text().strip())
        text = text.replace("K3S", str(self.k3s.path) if self.k3s else "")
        (self.folder / "cluster.yaml").write_text(text)

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "cluster.kubeconfig"

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    def image(self, node: str) -> Path:
        return self.folder / "out" / node / f"{node}.img"

    def imagesmith(self, *words: str, within: Callable[[Sequence[str]], list[str]] = list) -> str:
        """Run `imagesmith WORDS...` in the folder; what it answered. Raises CommandFailed.

        `within` makes a command line that runs in a network.
        """
        typed = ("imagesmith", *words)
        if self.shown:
            print(f"$ {' '.join(typed)}", flush=True)
        argv = within([sys.executable, "-m", "imagesmith", *words])
        said = None if self.shown else subprocess.PIPE
        done = subprocess.run(
            argv, cwd=self.folder, env=self.env, text=True, stdout=subprocess.PIPE, stderr=said,
            stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        if done.returncode:
            raise CommandFailed(f"{' '.join(typed)}: exit code {done.returncode}\n{done.stdout}{done.stderr or ''}")
        return done.stdout

    def told(self, *words: str) -> Any:
        """The result of `imagesmith WORDS... --json`. Raises CommandFailed."""
        return json.loads(self.imagesmith(*words, "--json").splitlines()[-1])["result"]

    def draw(self) -> None:
        """Identities: the vault, unless there is one, and out of it what reaches the cluster that is yet to be."""
        if not (self.folder / "cluster.vault").exists():
            self.imagesmith("vault", "create", "--plain")
        self.known_hosts.write_text(self.imagesmith("known-hosts"))
        if self.k3s:
            self.imagesmith("kubeconfig")

    def build(self, *nodes: str) -> None:
        """The images of the nodes, all of them when none is named."""
        for words in [(node,) for node in nodes] or [("--all",)]:
            self.imagesmith("build", *words, "--compress", "none")
