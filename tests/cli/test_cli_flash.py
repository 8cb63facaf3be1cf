"""`imagesmith flash` as a person meets it: the real program at a terminal, images really built, loop devices."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from building import PROGRAM, Workshop, make_workshop
from faults.disks import dirty_disk, loop_device, needs_root, random_bytes
from image.made_disks import Disk

from imagesmith.model import Digest
from imagesmith.units import MiB

pytestmark = needs_root
PATIENCE_S = 60
CARD_SIZE = 64 * MiB


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory, base_disk: Disk) -> Workshop:
    """node-1 and node-2 of an inventory, built."""
    shop = make_workshop(tmp_path_factory.mktemp("nodes"), base_disk)
    shop.inventory()
    shop.build("--all")
    return shop


@dataclass
class Cards:
    folder: Path
    paths: list[str]

    @property
    def untouched(self) -> bool:
        return all(path.read_bytes() == b"\xff" * CARD_SIZE for path in self.folder.glob("card*"))


@pytest.fixture
def cards(tmp_path: Path) -> Iterator[Cards]:
    with ExitStack() as stack:
        files = [dirty_disk(tmp_path / f"card{number}", CARD_SIZE) for number in (1, 2)]
        yield Cards(tmp_path, [stack.enter_context(loop_device(file)) for file in files])


class Terminal:
    """The program at a terminal of its own."""

    def __init__(self, shop: Workshop, *words: str, standard_input: Path | None = None) -> None:
        pid, self._end = pty.fork()
        if pid == 0:
            os.chdir(shop.folder)
            if standard_input:
                os.dup2(os.open(standard_input, os.O_RDONLY), 0)
            os.execve(PROGRAM[0], [*PROGRAM, *words], shop.env)
        self._pid = pid
        self.text = ""

    def until(self, words: str) -> str:
        deadline = time.monotonic() + PATIENCE_S
        while words not in self.text:
            assert time.monotonic() < deadline, self.text
            assert self._read(), self.text
        return self.text

    def type(self, keys: str) -> None:
        os.write(self._end, keys.encode())

    def end(self, again: str = "") -> int:
        """The exit code. `again` is typed every two seconds, as people do when nothing happens.

        A signal that arrives after Python prompted, and before it waits for a line, is noticed at the next key only.
        """
        deadline = time.monotonic() + PATIENCE_S
        next_key = time.monotonic() + 2
        while self._read():
            assert time.monotonic() < deadline, self.text
            if again and time.monotonic() > next_key:
                next_key += 2
                self.type(again)
        os.close(self._end)
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])

    def _read(self) -> bool:
        if select.select([self._end], [], [], 0.2)[0]:
            try:
                data = os.read(self._end, 65536)
            except OSError:  # how a terminal ends
                return False
            self.text += data.decode().replace("\r\n", "\n")
            return bool(data)
        return True


def pairs(cards: Cards) -> list[str]:
    return [f"node-{number}={path}" for number, path in enumerate(cards.paths, 1)]


def test_yes_writes_every_node_to_its_card(nodes: Workshop, cards: Cards) -> None:
    terminal = Terminal(nodes, "flash", *pairs(cards))
    asked = terminal.until("Type yes to write these 2 cards")
    assert f"node-1  <-  {cards.paths[0]}  64 MiB" in asked
    assert f"node-2  <-  {cards.paths[1]}  64 MiB" in asked
    terminal.type("yes\n")
    assert terminal.end() == 0, terminal.text
    assert terminal.text.count("MiB  verified, ") == 2
    images = [nodes.out / f"node-{number}" / f"node-{number}.img" for number in (1, 2)]
    assert [nodes.run("verify", image, path).code for image, path in zip(images, cards.paths, strict=True)] == [0, 0]
    assert nodes.run("verify", images[0], cards.paths[1]).code == 7


@pytest.mark.parametrize(
    "keys", ["no\n", "y\n", "\n", "\x03", "\x04"], ids=["no", "y", "empty", "ctrl-c", "end of input"]
)
def test_anything_else_than_yes_writes_nothing(nodes: Workshop, cards: Cards, keys: str) -> None:
    terminal = Terminal(nodes, "flash", *pairs(cards))
    terminal.until("Type yes to write these 2 cards")
    terminal.type(keys)
    assert terminal.end(again=keys if keys == "\x03" else "") == 130, terminal.text
    assert "Traceback" not in terminal.text
    assert cards.untouched


def test_the_receipt_is_in_the_answer_with_the_manifest_s_plan_and_digest(nodes: Workshop, cards: Cards) -> None:
    done = nodes.run("flash", "--yes", "--json", *pairs(cards))
    folder = nodes.out / "node-2"
    manifest = json.loads((folder / "node-2.manifest.json").read_text())
    assert [card["node"] for card in done.result] == ["node-1", "node-2"]
    assert [card["device"]["path"] for card in done.result] == cards.paths
    assert done.result[1]["plan_id"] == manifest["plan_id"]
    assert done.result[1]["digest"] == str(Digest.of((folder / "node-2.img").read_bytes()))
    kept = sorted((nodes.out / "receipts").glob("*.json"), key=lambda path: path.stat().st_mtime_ns)[-1]
    (card,) = [card for card in json.loads(kept.read_text())["cards"] if card["node"] == "node-2"]
    assert {**done.result[1], "device": cards.paths[1], "error": ""}.items() >= card.items()
    outcomes = [line["outcome"] for line in done.lines if "outcome" in line]
    assert outcomes == done.result


def test_answers_from_a_pipe_are_not_taken(nodes: Workshop, cards: Cards) -> None:
    done = subprocess.run(
        [*PROGRAM, "flash", *pairs(cards)], cwd=nodes.folder, env=nodes.env, input=b"yes\n", capture_output=True,
        timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert b"no terminal" in done.stderr
    assert cards.untouched


def test_nobody_can_answer_where_standard_input_is_closed(nodes: Workshop, cards: Cards) -> None:
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" <&-', "sh", *PROGRAM, "flash", *pairs(cards)], cwd=nodes.folder, env=nodes.env,
        capture_output=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert b"no terminal" in done.stderr
    assert cards.untouched


@pytest.mark.parametrize("answer", ["yes", "no"])
def test_the_question_about_an_image_from_standard_input_is_asked_at_the_terminal(
    nodes: Workshop, cards: Cards, answer: str
) -> None:
    image = nodes.out / "node-1" / "node-1.img"
    terminal = Terminal(nodes, "flash", "-", cards.paths[0], standard_input=image)
    assert cards.paths[0] in terminal.until("Type yes to write it: ")
    terminal.type(f"{answer}\n")
    assert terminal.end() == (0 if answer == "yes" else 130), terminal.text
    assert cards.untouched == (answer == "no")


def test_without_a_terminal_it_needs_yes(nodes: Workshop, cards: Cards) -> None:
    done = subprocess.run(
        [*PROGRAM, "flash", "-", cards.paths[0]], cwd=nodes.folder, env=nodes.env, input=random_bytes(MiB, 5),
        capture_output=True, timeout=PATIENCE_S, check=False, start_new_session=True,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert b"no terminal" in done.stderr
    assert cards.untouched


def test_an_image_changed_in_the_inventory_since_is_refused(
    nodes: Workshop, cards: Cards, request: pytest.FixtureRequest
) -> None:
    request.addfinalizer(nodes.inventory)
    text = (nodes.folder / "cluster.yaml").read_text()
    nodes.inventory(text.replace("profile: mine}", "profile: mine, timezone: Europe/Berlin}"))
    done = nodes.run("flash", "--yes", *pairs(cards))
    assert done.code == 2
    assert "2 nodes can't be written" in done.err
    assert done.err.count("older plan") == 2
    assert cards.untouched


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "say which device"),
        (["--all", "/dev/sdx"], "--all finds the cards itself"),
        (["--all", "--to-file"], "not for files"),
        (["--all", "--yes", "--allow-fixed-disk"], "--all never takes a fixed disk"),
        (["--cluster", "cluster.yaml", "/dev/sdx"], "--cluster is for --all"),
        (["node-1", "node-2=/dev/sdx"], "names a node"),
        (["node-9=/dev/null"], "is a character device"),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, list) else "",
)
def test_mistakes_on_the_command_line(nodes: Workshop, words: list[str], said: str) -> None:
    done = nodes.run("flash", *words)
    assert done.code in (2, 5)
    assert said in done.err


def test_an_unknown_node_is_told_with_those_that_were_built(nodes: Workshop, cards: Cards) -> None:
    done = nodes.run("flash", f"node-9={cards.paths[0]}")
    assert done.code == 2
    assert "no image was built for node-9" in done.err
    assert "built here: node-1, node-2" in done.err


def test_tab_offers_the_nodes(nodes: Workshop) -> None:
    words = {"COMP_WORDS": "imagesmith flash no", "COMP_CWORD": "2"}
    done = nodes.program(env={"_IMAGESMITH_COMPLETE": "zsh_complete", **words})
    assert "node-2" in done.out
