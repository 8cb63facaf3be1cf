"""The conductor's side of a card writer: the child is started, given orders, watched while it does not answer, left.

Called by `flash.writing`, `flash.check` and `flash.alone`; made by `workflow.crew`, which gives up root after it.
Touches processes and sockets only.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from imagesmith import tools
from imagesmith.errors import ImagesmithError, IOFailed
from imagesmith.flash.card_writer import STOP
from imagesmith.flash.link import AsyncLink
from imagesmith.messages import Blank, Done, Found, Laid, Leave, Tick
from imagesmith.model import Device
from imagesmith.ring import Failed, Ring, vocabulary
from imagesmith.units import align_up

_ANSWERS = vocabulary(Tick, Done, Found, Failed)


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds to wait for a card's next sign of life."""

    told_s: float = 4.0
    """Then the user is told that it does not answer."""
    given_up_s: float = 120.0
    """Then it failed. Kernels retry a bad block for a minute and more."""
    farewell_s: float = 1.2
    """What a card has for being blanked when the user wants to stop."""


PATIENT = Patience()
_PAGE = 4096
_TOLD = ("path", "name", "kind", "size", "logical_sector", "number", "diskseq", "bus", "removable")
"""What a card writer must know of its device; not its serial number, for others can read a process's arguments."""


def uncancelled() -> None:
    """Say that this task knows that it is cancelled and only takes its leave.

    Without it asyncio.timeout of Python before 3.11.3 raises CancelledError inside a task that was cancelled.
    """
    task = asyncio.current_task()
    while task and task.cancelling():
        task.uncancel()


class Stuck(IOFailed):
    """The card writer does not answer; its process can't even be ended while the kernel waits for the card."""


class Card:
    """One card writer, as the conductor sees it."""

    def __init__(self, device: Device, ring: Ring) -> None:
        self.path = device.path
        self.own = Ring.made(1)
        self._end, theirs = socket.socketpair()
        descriptors = (theirs.fileno(), ring.descriptor, self.own.descriptor)
        told = json.dumps({name: getattr(device, name) for name in _TOLD})
        argv = tools.own_argv("imagesmith.flash.card_writer", told, *map(str, descriptors))
        with theirs:
            # A session of its own: Ctrl-C at the terminal is for the conductor. Nor does it get our output: while it is
            # stuck it would keep a pipe open that someone reads to its end.
            self._process = tools.spawn(
                argv, stdout=tools.DEVNULL, stderr=tools.DEVNULL, pass_fds=descriptors, new_session=True
            )
        self._link: AsyncLink | None = None
        self._owed = 0
        """Orders that have no answer yet."""

    async def connect(self) -> None:
        self._link = await AsyncLink.over(self._end, _ANSWERS)

    def send(self, order: object) -> None:
        assert self._link, "connect first"
        self._owed += 1
        self._link.send(order)

    async def answer(
        self, patience: Patience, on_tick: Callable[[int], None], on_silence: Callable[[float], None]
    ) -> Done | Found:
        """The answer to the oldest order that has none yet.

        `on_tick` hears bytes done, `on_silence` the seconds without a sign, every `told_s`. Raises what
        the card writer complains of, and Stuck after `given_up_s`.
        """
        assert self._link
        heard = time.monotonic()
        while True:
            try:
                # Not wait_for: Python 3.11's loses a Ctrl-C that comes together with the answer.
                async with asyncio.timeout(patience.told_s):
                    message = await self._link.receive()
            except TimeoutError:
                silent = time.monotonic() - heard
                if silent >= patience.given_up_s:
                    raise Stuck(
                        f"it has not answered for {silent:.0f} s",
                        where=self.path,
                        hint="take it out; try another reader or port, then another card",
                    ) from None
                on_silence(silent)
                continue
            heard = time.monotonic()
            match message:
                case Tick(size):
                    on_tick(size)
                case Done() | Found():
                    self._owed -= 1
                    return message
                case Failed():
                    self._owed -= 1
                    raise message.as_error()
                case None:
                    self._owed = 0
                    raise IOFailed(
                        "the process that writes it ended unexpectedly",
                        where=self.path,
                        hint="was it killed, or is memory short? Run the same command again",
                    )

    async def drain(self, patience: Patience) -> None:
        """Hear all answers that are still owed, whatever they are. Raises Stuck."""
        while self._owed:
            try:
                await self.answer(patience, lambda _: None, lambda _: None)
            except Stuck:
                raise
            except ImagesmithError:
                continue

    async def blank_last(
        self, blank: Blank, patience: Patience, within_s: float, on_silence: Callable[[float], None]
    ) -> bool | None:
        """Have a failed card blanked, after `stop` and all answers that it owes: whether it is blank now.

        None when it did not answer in `within_s`, or only with an error.
        """
        with contextlib.suppress(ImagesmithError, TimeoutError):
            async with asyncio.timeout(within_s):
                await self.drain(patience)
                self.send(blank)
                found = await self.answer(patience, lambda _: None, on_silence)
                assert isinstance(found, Found)
                return not found.places
        return None

    def lay(self, parts: Iterable[tuple[int, bytes]]) -> tuple[Laid, ...]:
        """Put (offset on the card, bytes) into the slot OWN, which only this card's writer sees; under 4 MiB in all."""
        memory = self.own.slot(0)[:STOP]
        laid: list[Laid] = []
        at = 0
        for offset, data in parts:
            memory[at : at + len(data)] = data
            laid.append((offset, at, len(data)))
            at = align_up(at + len(data), _PAGE)
        return tuple(laid)

    def stop(self) -> None:
        """Let everything that was ordered be given up, at the next step of a few MiB."""
        self.own.slot(0)[STOP] = 1

    def leave(self) -> None:
        """Let the child close its card and end: at once, or when its card lets it."""
        if self._link:
            self._link.send(Leave())
            self._link.close()
            self._link = None

    def part(self, until: float) -> None:
        """Forget the child: it notices. Waits for its end, until that time of the monotonic clock at most."""
        self.leave()
        with contextlib.suppress(OSError):
            self._end.close()
        with contextlib.suppress(tools.TimeoutExpired):
            self._process.wait(max(0, until - time.monotonic()))
        self.own.close()
