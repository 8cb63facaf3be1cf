"""A folder that stands for a node's root, with the first boot's files in it and harmless stand-ins for programs."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from pathlib import Path

# Programs that would change the machine that runs the tests. Each writes its name and arguments to the file `calls`.
CHANGERS = (
    *("chown", "chpasswd", "dmesg", "findmnt", "getent", "groupadd", "ip", "journalctl", "locale-gen", "mount"),
    *("passwd", "setupcon", "swapoff", "systemctl", "systemd-machine-id-setup", "timedatectl", "useradd", "usermod"),
)


@dataclass
class NodeFolder:
    """`root` is the node's /, `calls` lists what the scripts asked the stand-ins to do."""

    root: Path
    bin: Path
    library: Path
    environment: dict[str, str] = field(default_factory=dict)

    def write(self, path: str, text: str) -> Path:
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        return target

    def read(self, path: str) -> str:
        return (self.root / path.lstrip("/")).read_text()

    def exists(self, path: str) -> bool:
        return (self.root / path.lstrip("/")).exists()

    def configure(self, **values: str) -> None:
        self.write("etc/imagesmith/node.conf", "".join(f"{key}='{value}'\n" for key, value in values.items()))

    def stand_in(self, program: str, script: str) -> None:
        """Replace a program by a script that first notes how it was called."""
        path = self.bin / program
        path.write_text(f'#!/bin/sh\necho "{program} $*" >>"$CALLS"\n{script}\n')
        path.chmod(0o755)

    def add_step(self, name: str, script: str) -> None:
        path = self.library / "steps" / name
        path.write_text(script)
        path.chmod(0o755)

    def run(self, script: str | Path) -> subprocess.CompletedProcess[str]:
        """Run one of the library's scripts (`run`, `report`, `steps/10-clock`) as on a node."""
        return subprocess.run(
            [self.library / script],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    @property
    def calls(self) -> list[str]:
        path = Path(self.environment["CALLS"])
        return path.read_text().splitlines() if path.exists() else []

    def files(self) -> dict[str, bytes]:
        """Every file under the root with its content."""
        found = (path for path in self.root.rglob("*") if path.is_file() and not path.is_symlink())
        return {str(path.relative_to(self.root)): path.read_bytes() for path in found}
