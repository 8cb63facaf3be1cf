"""Which k3s a rack runs: the real program where IMAGESMITH_K3S names one, else the tests' stand-in, and saying which.

Used by the lanes and `rack.demo`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from imagesmith.units import GiB

VARIABLE = "IMAGESMITH_K3S"


@dataclass(frozen=True, slots=True)
class K3sProgram:
    path: Path
    real: bool

    @property
    def words(self) -> str:
        """For every output, so that nobody takes the one for the other."""
        if self.real:
            return f"k3s itself, {self.path}"
        return f"the tests' STAND-IN for k3s, not k3s (which {VARIABLE}=FILE would run)"

    @property
    def memory(self) -> int:
        """What a guest needs at least; k3s says so of its servers."""
        return 2 * GiB if self.real else 0


used: list[K3sProgram] = []
"""Every program that was chosen in this process, for the words at its end."""


def chosen(folder: Path) -> K3sProgram:
    """The program that IMAGESMITH_K3S names, else a stand-in made in `folder`."""
    program = _chosen(folder)
    used.append(program)
    return program


def _chosen(folder: Path) -> K3sProgram:
    named = os.environ.get(VARIABLE)
    if named:
        path = Path(named).resolve()
        assert path.is_file(), f"{VARIABLE}={named}: there is no such file"
        return K3sProgram(path, True)
    # Not at the top: who brings k3s needs no stand-in.
    from standins.k3s import make

    folder.mkdir(parents=True, exist_ok=True)
    return K3sProgram(make(folder / "k3s"), False)
