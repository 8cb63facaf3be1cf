"""An Ethernet switch as a process: guests' `-netdev stream` sockets and one TAP device, joined.

Started by `rack.network` in a network namespace of its own (`python relay.py SOCKET ADDRESS/PREFIX [time]`). It makes
the TAP device, gives it the address, listens on SOCKET, says `ready` and carries frames until its standard input ends:
so it goes with whoever started it, however that ended, and the namespace, the device and SOCKET's folder go with it.
With `time` it tells the time at its address (NTP), as many a router does.

QEMU sends a frame as its length, four bytes, the highest first, and then itself (`net/stream.c`). A stream joins two
ends only, which is why there must be something in the middle.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import selectors
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

DEVICE = "rack0"
LONGEST = 65536 + 64
"""Bytes of a frame; virtio's largest is below it. Who announces more does not speak our language."""
QUEUED = 8 * 1024 * 1024
"""Bytes that wait for a guest which does not read; what comes after them is dropped, as a switch does."""

_SINCE_1900 = 2_208_988_800
_TUNSETIFF, _IFF_TAP, _IFF_NO_PI = 0x400454CA, 0x0002, 0x1000


class NotFrames(Exception):
    """What came is no sequence of frames."""


@dataclass(slots=True)
class Frames:
    """Cuts a stream of bytes into Ethernet frames."""

    _rest: bytearray = field(default_factory=bytearray)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The frames that are whole now. Raises NotFrames."""
        self._rest += data
        while len(self._rest) >= 4:
            (length,) = struct.unpack_from(">I", self._rest)
            if not 14 <= length <= LONGEST:
                raise NotFrames(f"a frame of {length} bytes was announced")
            if len(self._rest) < 4 + length:
                return
            yield bytes(self._rest[4 : 4 + length])
            del self._rest[: 4 + length]


def packed(frame: bytes) -> bytes:
    """A frame as QEMU reads it."""
    return struct.pack(">I", len(frame)) + frame


Forward = Callable[[int, bytes], None]


@dataclass(slots=True)
class Switch:
    """Knows behind which port a station is; a frame for one that it has not heard yet goes to every other port."""

    send: Forward
    """Called with a port's number and a frame for it."""
    ports: set[int] = field(default_factory=set)
    _stations: dict[bytes, int] = field(default_factory=dict)

    def take(self, port: int, frame: bytes) -> None:
        """Carry a frame that came in at `port`."""
        target, source = frame[:6], frame[6:12]
        if not source[0] & 1:
            self._stations[source] = port
        known = None if target[0] & 1 else self._stations.get(target)
        for other in [known] if known is not None else sorted(self.ports):
            if other != port:
                self.send(other, frame)

    def unplug(self, port: int) -> None:
        """Forget a port and who was behind it."""
        self.ports.discard(port)
        self._stations = {mac: at for mac, at in self._stations.items() if at != port}


@dataclass(slots=True)
class Wire:
    """One guest's socket: frames in, bytes that wait to go out."""

    connection: socket.socket
    frames: Frames = field(default_factory=Frames)
    waiting: bytearray = field(default_factory=bytearray)
    watched: int = selectors.EVENT_READ


class Relay:
    """The switch with its sockets and, where there is one, its TAP device; `run` until `stop` can be read."""

    def __init__(self, listener: socket.socket, tap: int | None, stop: int) -> None:
        self._listener, self._tap, self._stop = listener, tap, stop
        self._wires: dict[int, Wire] = {}
        self._switch = Switch(self._send)
        self._ready = selectors.DefaultSelector()
        listener.setblocking(False)
        self._ready.register(listener, selectors.EVENT_READ)
        self._ready.register(stop, selectors.EVENT_READ)
        if tap is not None:
            os.set_blocking(tap, False)
            self._ready.register(tap, selectors.EVENT_READ)
            self._switch.ports.add(tap)

    def run(self) -> None:
        """Carry frames; returns when `stop` has reached its end."""
        while True:
            for key, events in self._ready.select():
                if key.fd == self._stop:
                    if not os.read(self._stop, 4096):
                        return
                elif key.fileobj is self._listener:
                    self._plug_in()
                elif key.fd == self._tap:
                    self._from_tap()
                else:
                    self._serve(key.fd, events)

    def _plug_in(self) -> None:
        connection, _ = self._listener.accept()
        connection.setblocking(False)
        port = connection.fileno()
        self._wires[port] = Wire(connection)
        self._switch.ports.add(port)
        self._ready.register(connection, selectors.EVENT_READ)

    def _from_tap(self) -> None:
        assert self._tap is not None
        try:
            self._switch.take(self._tap, os.read(self._tap, LONGEST))
        except BlockingIOError:
            return

    def _serve(self, port: int, events: int) -> None:
        wire = self._wires.get(port)
        if wire is None:
            return  # unplugged by an earlier event of the same round
        try:
            if events & selectors.EVENT_WRITE:
                self._flush(port, wire)
            if events & selectors.EVENT_READ:
                data = wire.connection.recv(1 << 18)
                if not data:
                    raise ConnectionError
                for frame in wire.frames.feed(data):
                    self._switch.take(port, frame)
        except BlockingIOError:
            return
        except (OSError, NotFrames) as error:
            self._unplug(port, error)

    def _send(self, port: int, frame: bytes) -> None:
        if port == self._tap:
            try:
                os.write(port, frame)
            except OSError:
                return  # a full queue or a frame that the kernel does not want: lost, as on any network
            return
        wire = self._wires.get(port)
        if wire is None or len(wire.waiting) > QUEUED:
            return
        wire.waiting += packed(frame)
        try:
            self._flush(port, wire)
        except OSError as error:
            self._unplug(port, error)

    def _flush(self, port: int, wire: Wire) -> None:
        try:
            while wire.waiting:
                del wire.waiting[: wire.connection.send(wire.waiting)]
        except BlockingIOError:
            pass  # it reads slowly: the rest goes when its socket has room
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if wire.waiting else 0)
        if wanted != wire.watched:
            wire.watched = wanted
            self._ready.modify(wire.connection, wanted)

    def _unplug(self, port: int, why: Exception) -> None:
        wire = self._wires.pop(port, None)
        if wire is None:
            return
        if isinstance(why, NotFrames):
            print(f"port {port}: {why}", file=sys.stderr, flush=True)
        self._switch.unplug(port)
        self._ready.unregister(wire.connection)
        wire.connection.close()


def make_tap(address: str) -> int:
    """A TAP device in this network namespace, up and with the address; it is gone when the descriptor is closed."""
    tap = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    fcntl.ioctl(tap, _TUNSETIFF, struct.pack("16sH22x", DEVICE.encode(), _IFF_TAP | _IFF_NO_PI))
    for words in (f"address add {address} dev {DEVICE}", f"link set {DEVICE} up", "link set lo up"):
        subprocess.run(["ip", *words.split()], check=True)
    return tap


def tell_time(address: str) -> None:
    """Answer everybody who asks for the time; started as a thread, never returns. Source: RFC 4330, section 4."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
        door.bind((address, 123))
        while True:
            asked, who = door.recvfrom(512)
            if len(asked) >= 48:
                now = struct.pack(">Q", int((time.time() + _SINCE_1900) * (1 << 32)))
                # Version as asked, mode 4 (server); stratum 1, poll 4, precision 2^-20; no delay, no dispersion.
                head = struct.pack(">BBbb2I4s", asked[0] & 0x38 | 4, 1, 4, -20, 0, 0, b"RACK")
                door.sendto(head + now + asked[40:48] + now + now, who)


def main(path: str, address: str, also: str = "") -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path)
        listener.listen(16)
        tap = make_tap(address)
        if also == "time":
            threading.Thread(target=tell_time, args=(address.split("/")[0],), daemon=True).start()
        print("ready", flush=True)
        try:
            Relay(listener, tap, sys.stdin.fileno()).run()
        finally:
            # Here and not by the starter alone, which may have been killed.
            Path(path).unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                Path(path).parent.rmdir()


if __name__ == "__main__":
    main(*sys.argv[1:])
