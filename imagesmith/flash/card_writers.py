"""The process that card writers are forked from: one interpreter that all share, one process for each card.

Started by `flash.cards` as `python -m imagesmith.flash.card_writers SOCKET DEVICE...`, DEVICE as JSON of
`model.Device`'s fields; root under sudo. It is told a device's number, with the three descriptors that its writer gets,
and answers with the same number when that writer has ended. Each device gets one writer, and no other device gets any:
they are fixed when this process is started. It has one thread, opens nothing, and keeps nothing of what it hands over.
When the conductor is gone it ends, and the writers go on without it.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import sys

from imagesmith.flash.card_writer import write_card

_MOST_WORDS = 16
_HANDED_OVER = 3
"""Conversation, ring, own slot."""


def serve(end: socket.socket, told: list[str]) -> None:
    """Fork a writer for each number that comes, and tell of its end, until the conductor is gone."""
    waiting = dict(enumerate(told))
    running: dict[int, tuple[int, int]] = {}  # by the descriptor of the process: its id, the device's number
    news = select.poll()
    news.register(end, select.POLLIN)
    while True:
        for descriptor, _ in news.poll():
            if descriptor != end.fileno():
                news.unregister(descriptor)
                _bury(end, descriptor, *running.pop(descriptor))
                continue
            words, descriptors, *_ = socket.recv_fds(end, _MOST_WORDS, _HANDED_OVER, socket.MSG_CMSG_CLOEXEC)
            if not words:
                return
            number = int(words)
            # Where there is no memory for a process, the conductor hears that the conversation ended.
            with contextlib.suppress(OSError, KeyError):
                pid = _forked(waiting.pop(number), descriptors, [end.fileno(), *running])
                process = os.pidfd_open(pid)
                running[process] = pid, number
                news.register(process, select.POLLIN)
            for one in descriptors:
                os.close(one)


def _forked(told: str, handed_over: list[int], others: list[int]) -> int:
    """Start the writer; it has what is handed over, and of the others (this process's own) nothing."""
    if pid := os.fork():
        return pid
    status = 1
    try:
        # A session of its own: what ends one of them ends no other.
        os.setsid()
        for descriptor in others:
            os.close(descriptor)
        gc.enable()
        write_card(told, *handed_over)
        status = 0
    finally:
        # Not through the interpreter's own end, which would write to all the memory that is shared until then.
        os._exit(status)


def _bury(end: socket.socket, descriptor: int, pid: int, number: int) -> None:
    os.close(descriptor)
    os.waitpid(pid, 0)
    with contextlib.suppress(OSError):
        end.send(str(number).encode())


def main() -> None:
    # The terminal sends Ctrl-C to every process; what becomes of the cards is the conductor's decision.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What is there now is never collected, so that collecting in a writer writes to none of it.
    gc.disable()
    gc.freeze()
    with contextlib.suppress(ConnectionError):
        serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2:])
    os._exit(0)  # at once: the conductor waits for it, and there is nothing to tidy up


if __name__ == "__main__":
    main()
