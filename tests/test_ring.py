"""Memory and messages between processes: what one end puts there, the other finds, also in a child of its own."""

from __future__ import annotations

import asyncio
import os
import socket
from dataclasses import dataclass

import pytest

from imagesmith import tools
from imagesmith.errors import ImagesmithError, ReadbackDiffers, UsageError
from imagesmith.flash.link import AsyncLink
from imagesmith.ring import SLOT, Failed, Link, Ring, vocabulary


@dataclass(frozen=True, slots=True)
class Told:
    number: int
    places: tuple[tuple[int, int], ...] = ()


KNOWN = vocabulary(Told, Failed)


def pair() -> tuple[Link, Link, socket.socket]:
    near, far = socket.socketpair()
    return Link(near, KNOWN), Link(far, KNOWN), near


def test_a_message_arrives_as_it_was_sent() -> None:
    near, far, _ = pair()
    near.send(Told(7, ((1, 2), (3, 4))))
    assert far.receive() == Told(7, ((1, 2), (3, 4)))


def test_the_end_of_the_other_process_is_told_as_none() -> None:
    near, far, end = pair()
    end.sendall(b'["Told",{"numb')
    end.shutdown(socket.SHUT_RDWR)
    assert far.receive() is None
    with pytest.raises(OSError):
        near.send(Told(1))


def test_a_word_that_is_not_understood_is_an_error_and_not_a_guess() -> None:
    near, far = socket.socketpair()
    near.sendall(b'["os.system",{"number":1}]\n')
    with pytest.raises(KeyError):
        Link(far, KNOWN).receive()


@pytest.mark.parametrize("error", [ReadbackDiffers("2 KiB differ", where="/dev/sdX", hint="another card")])
def test_an_error_keeps_its_class_and_words(error: ImagesmithError) -> None:
    back = Failed.of(error.within("while reading back")).as_error()
    assert (type(back), back.where, back.hint) == (ReadbackDiffers, "/dev/sdX", "another card")
    assert back.what == "2 KiB differ, while reading back"


def test_an_error_of_a_modules_own_kind_arrives_as_what_it_is_one_of() -> None:
    class Worn(ReadbackDiffers):
        pass

    assert type(Failed.of(Worn("x")).as_error()) is ReadbackDiffers


@pytest.mark.parametrize("kind", ["Sequence", "DocumentInvalid", "no such", "__doc__"])
def test_a_class_that_is_no_plain_error_becomes_the_root_of_all(kind: str) -> None:
    assert type(Failed(kind, "x").as_error()) is ImagesmithError


def test_two_rings_over_one_descriptor_see_the_same_bytes() -> None:
    one = Ring.made(3)
    other = Ring.at(os.dup(one.descriptor))
    assert other.count == 3
    one.slot(1)[:5] = b"hello"
    assert bytes(other.slot(1)[:5]) == b"hello"
    assert len(other.slot(2)) == SLOT


def test_a_child_in_another_folder_finds_our_modules(tmp_path: object) -> None:
    done = tools.run(tools.own_argv("imagesmith.ring"), cwd=tmp_path, env={"PYTHONPATH": ""})  # type: ignore[arg-type]
    assert done.returncode == 0
    # A module of the current folder must not be taken for ours: a child may be root.
    (tmp_path / "imagesmith").mkdir()  # type: ignore[operator]
    (tmp_path / "imagesmith" / "ring.py").write_text("raise SystemExit(3)")  # type: ignore[operator]
    assert tools.run(tools.own_argv("imagesmith.ring"), cwd=tmp_path).returncode == 0  # type: ignore[arg-type]


def test_the_conductor_talks_to_several_at_once() -> None:
    async def talk() -> list[object]:
        children, links = [], []
        for _ in range(3):
            near, far = socket.socketpair()
            links.append(await AsyncLink.over(near, KNOWN))
            children.append(Link(far, KNOWN))
        for number, link in enumerate(links):
            link.send(Told(number))
        answers = []
        for child in children:
            told = await asyncio.to_thread(child.receive)
            child.send(Told(told.number + 10))
        for link in links:
            answers.append(await link.receive())
            link.close()
        return answers

    assert asyncio.run(talk()) == [Told(10), Told(11), Told(12)]


def test_an_error_of_usage_is_one_of_ours() -> None:
    assert isinstance(Failed("UsageError", "x").as_error(), UsageError)
