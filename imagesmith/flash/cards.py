"""The conductor's side of a card writer: the child is begun, given orders, watched while it does not answer, left.

Called by `flash.writing`, `flash.check` and `flash.alone`; `Writers` are started by `workflow.crew`, which gives up
root after it. Touches processes and sockets only.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterable, Sequence
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
_ENDS_S = 0.5
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


class Writers:
    """The process that the writers of these devices, and of no others, are forked from: `flash.card_writers`."""

    def __init__(self, devices: Sequence[Device]) -> None:
        # Whole messages: a number, and with it descriptors.
        self._end, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        told = [json.dumps({name: getattr(device, name) for name in _TOLD}) for device in devices]
        argv = tools.own_argv("imagesmith.flash.card_writers", str(theirs.fileno()), *told)
        with theirs:
            # A session of its own: Ctrl-C at the terminal is for the conductor. Nor do writers get our output: one that
            # is stuck would keep a pipe open that someone reads to its end.
            self._process = tools.spawn(
                argv, stdout=tools.DEVNULL, stderr=tools.DEVNULL, pass_fds=(theirs.fileno(),), new_session=True
            )
        self._ended: set[int] = set()

    def begin(self, number: int, descriptors: Sequence[int]) -> None:
        """Start the writer of the device with that number; each can be started once."""
        # Where the process is gone, the conversation ends before it began: that is told like the end of a writer.
        with contextlib.suppress(OSError):
            socket.send_fds(self._end, [str(number).encode()], descriptors)

    def has_ended(self, number: int, until: float = 0.0) -> bool:
        """Whether that writer's process is gone; waits for it until that time of the monotonic clock at most."""
        while number not in self._ended:
            self._end.settimeout(max(1e-6, until - time.monotonic()))
            try:
                words = self._end.recv(16)
            except OSError:
                words = b""
            if not words:
                return False
            self._ended.add(int(words))
        return True

    def close(self) -> None:
        """Let the process end; writers that are stuck go on without it."""
        self._end.close()
        with contextlib.suppress(tools.TimeoutExpired):
            self._process.wait(_ENDS_S)


class Card:
    """One card writer, as the conductor sees it: `writers` start it, when its card's turn comes, as their `number`."""

    def __init__(self, device: Device, ring: Ring, writers: Writers, number: int) -> None:
        self.path = device.path
        self.own = Ring.made(1)
        self._ring = ring
        self._writers = writers
        self._number = number
        self._begun = False
        self._link: AsyncLink | None = None
        self._owed = 0
        """Orders that have no answer yet."""

    async def connect(self) -> None:
        """Start the writer, and the conversation with it."""
        end, theirs = socket.socketpair()
        self._begun = True
        with theirs:
            self._writers.begin(self._number, (theirs.fileno(), self._ring.descriptor, self.own.descriptor))
        self._link = await AsyncLink.over(end, _ANSWERS)

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

    def is_gone(self, until: float = 0.0) -> bool:
        """Whether the child, once left, has ended; waits for it until that time of the monotonic clock at most."""
        if self._begun and not self._writers.has_ended(self._number, until):
            return False
        # Not before: one that is stuck must find the word to stop when it comes back.
        self.own.empty()
        return True

    def part(self, until: float) -> None:
        """Forget the child: it notices. Waits for its end, until that time of the monotonic clock at most."""
        self.leave()
        self.is_gone(until)
        self.own.close()
