"""For the lanes that run the real command line on real bases: `imagesmith` as a program, and what it built."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from building import KEY, Done
from lanes.racks import INVENTORY
from rack import k3s_program
from rack.desk import Desk
from rack.lan_or_skip import lan_or_skip
from rack.network import Lan

Program = Callable[..., Done]


def run_program(argv: list[str], folder: Path, env: Mapping[str, str] = os.environ, timeout: int = 2400) -> Done:
    done = subprocess.run(argv, cwd=folder, env=env, text=True, capture_output=True, timeout=timeout, check=False)
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to build in, with a public key in it."""
    folder = tmp_path_factory.mktemp("workshop")
    (folder / "key.pub").write_text(KEY + "\n")
    return folder


@pytest.fixture(scope="session")
def imagesmith(workshop: Path) -> Program:
    """`imagesmith WORDS...` in the workshop."""

    def call(*words: str) -> Done:
        return run_program([sys.executable, "-m", "imagesmith", *words], workshop)

    return call


@pytest.fixture(scope="session")
def worker(imagesmith: Program, workshop: Path) -> Path:
    """The folder of a built qemu-x86-worker."""
    done = imagesmith("build", "qemu-x86-worker", "--no-cluster", "--ssh-key", "key.pub")
    assert done.code == 0, done.out + done.err
    return workshop / "out" / "qemu-x86-worker"


@pytest.fixture(scope="session")
def rack_desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """An inventory with k3s and, made before any power-on: its images, kubeconfig and known_hosts."""
    folder = tmp_path_factory.mktemp("rack")
    k3s = k3s_program.chosen(folder)
    desk = Desk(folder / "desk", INVENTORY.replace("NAME", "rack"), k3s)
    desk.draw()
    desk.build()
    return desk


@pytest.fixture(scope="module")
def lan(request: pytest.FixtureRequest) -> Iterator[Lan]:
    """A network for guests, of one module's tests; without a time server where the module has TELLS_TIME = False."""
    with lan_or_skip(tells_time=getattr(request.module, "TELLS_TIME", True)) as made:
        yield made


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Which k3s it was stands in every output."""
    for words in sorted({program.words for program in k3s_program.used}):
        terminalreporter.write_line(f"the clusters of these tests ran {words}", bold=True)
