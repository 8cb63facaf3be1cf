"""The processes that write cards, looked at while they live: what each holds, and how people find it."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from pathlib import Path

from faults.disks import dirty_disk, listed, loop_device, needs_root
from faults.killing import children

from imagesmith.flash.cards import PATIENT, Card
from imagesmith.messages import Open
from imagesmith.units import MiB
from imagesmith.workflow.crew import hired

pytestmark = needs_root


async def opened(card: Card) -> None:
    await card.connect()
    card.send(Open(writing=True))
    await card.answer(PATIENT, lambda _: None, lambda _: None)


def held(pid: int) -> Counter[str]:
    """What a process has open, by kind; devices by their path."""
    links = [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()]
    return Counter(link if link.startswith("/dev/") else link.partition(":")[0] for link in links)


def test_each_holds_its_own_card_and_conversation_and_nothing_else(tmp_path: Path) -> None:
    with (
        loop_device(dirty_disk(tmp_path / "one", 8 * MiB)) as one,
        loop_device(dirty_disk(tmp_path / "two", 8 * MiB)) as two,
        asyncio.Runner() as runner,
        hired([[listed(one), listed(two)]]) as (team,),
    ):
        for card in team.cards:
            runner.run(opened(card))
        (source,) = children("card writers")
        found = {Path(f"/proc/{pid}/comm").read_text().strip(): pid for pid in children("card writer")}
        assert set(found) == {f"card-{Path(device).name}" for device in (one, two)}
        memory = "/memfd"
        for device in (one, two):
            pid = found[f"card-{Path(device).name}"]
            kinds = held(pid)
            kinds[memory] = sum(kinds.pop(kind) for kind in list(kinds) if kind.startswith(memory))
            # The ring and its own slot, each twice: Python's mmap keeps a descriptor of its own.
            assert kinds == {"/dev/null": 3, "socket": 1, memory: 4, device: 1}
            assert os.getsid(pid) == pid
        # Nothing of what it handed over: else no writer would hear that the conductor is gone.
        kinds = held(source)
        assert [kind for kind in kinds if kind.startswith((memory, one, two))] == []
        assert kinds["socket"] == 1
        runner.run(leave(team.cards))


async def leave(cards: tuple[Card, ...]) -> None:
    for card in cards:
        card.leave()
    await asyncio.sleep(0)
