"""The network of the tests' own: what the switch carries where, and that nothing of it stays."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rack.lan_or_skip import lan_or_skip
from rack.network import Lan
from rack.relay import DEVICE, Frames, NotFrames, Switch, packed

ONE, TWO, THREE = (bytes.fromhex(f"5254000000{number:02x}") for number in (1, 2, 3))
EVERYBODY = b"\xff" * 6


def frame(target: bytes, source: bytes, text: bytes = b"hello") -> bytes:
    return target + source + b"\x88\xb5" + text.ljust(46, b"\0")


class FakeGuest:
    """A socket that speaks as QEMU's stream does."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._frames, self._got = Frames(), list[bytes]()

    def send(self, data: bytes) -> None:
        self._socket.sendall(packed(data))

    def receive(self, wanted: Callable[[bytes], bool], within_s: float = 5.0) -> bytes | None:
        """The next frame that is wanted (the host's kernel sends some of its own), None when there was none."""
        until = time.monotonic() + within_s
        while True:
            while self._got:
                if wanted(one := self._got.pop(0)):
                    return one
            self._socket.settimeout(max(until - time.monotonic(), 0.001))
            try:
                data = self._socket.recv(65536)
            except TimeoutError:
                return None
            assert data, "the relay hung up"
            self._got += self._frames.feed(data)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def lan() -> Iterator[Lan]:
    with lan_or_skip() as made:
        yield made


@contextmanager
def plugged(lan: Lan, number: int = 2) -> Iterator[list[FakeGuest]]:
    guests = [FakeGuest(lan.socket) for _ in range(number)]
    # A socket is connected before the relay has taken it; they are taken in order, so the last one's word shows it.
    for _ in range(50):
        guests[-1].send(hello := frame(EVERYBODY, bytes.fromhex("5254000000ff")))
        if guests[0].receive(lambda data: data == hello, 0.1):
            break
    yield guests
    for guest in guests:
        guest.close()


def test_frames_are_cut_wherever_the_stream_is() -> None:
    sent = [frame(ONE, TWO, bytes([number]) * 60) for number in range(5)]
    stream = b"".join(packed(one) for one in sent)
    for step in (1, 7, 4096):
        frames = Frames()
        cut = [one for at in range(0, len(stream), step) for one in frames.feed(stream[at : at + step])]
        assert cut == sent


def test_a_stream_that_announces_too_much_is_refused() -> None:
    with pytest.raises(NotFrames):
        list(Frames().feed(struct.pack(">I", 1 << 30)))


def test_a_frame_for_a_known_station_goes_to_its_port_alone() -> None:
    sent: list[tuple[int, bytes]] = []
    switch = Switch(lambda port, data: sent.append((port, data)), {1, 2, 3})
    switch.take(1, frame(EVERYBODY, ONE))
    assert [port for port, _ in sent] == [2, 3]
    sent.clear()
    switch.take(2, frame(ONE, TWO))
    assert [port for port, _ in sent] == [1]


def test_a_station_that_was_unplugged_is_looked_for_again() -> None:
    sent: list[int] = []
    switch = Switch(lambda port, data: sent.append(port), {1, 2, 3})
    switch.take(1, frame(EVERYBODY, ONE))
    switch.unplug(1)
    sent.clear()
    switch.take(2, frame(ONE, TWO))
    assert sent == [3]


def test_guests_hear_each_other_and_not_themselves(lan: Lan) -> None:
    with plugged(lan, 3) as (one, two, three):
        greeting = frame(EVERYBODY, ONE)
        one.send(greeting)
        for other in (two, three):
            assert other.receive(lambda data: data == greeting)
        assert one.receive(lambda data: data == greeting, 0.3) is None
        answer = frame(ONE, TWO, b"answer")
        two.send(answer)
        assert one.receive(lambda data: data == answer)
        assert three.receive(lambda data: data == answer, 0.3) is None


def test_the_host_answers_at_its_address(lan: Lan) -> None:
    """ARP: the kernel on the other side of the TAP device is asked, and its answer comes to who asked."""
    ours, theirs = socket.inet_aton("10.77.0.1"), socket.inet_aton("10.77.0.254")
    asked = EVERYBODY + ONE + bytes.fromhex("0806 0001 0800 06 04 0001") + ONE + ours + b"\0" * 6 + theirs
    with plugged(lan) as (one, _):
        one.send(asked.ljust(60, b"\0"))
        answer = one.receive(lambda data: data[12:14] == b"\x08\x06" and data[20:22] == b"\x00\x02")
    assert answer is not None and answer[:6] == ONE and answer[28:32] == theirs


def test_a_guest_that_does_not_read_holds_nobody_up(lan: Lan) -> None:
    large = frame(EVERYBODY, ONE, b"x" * 60000)
    with plugged(lan, 3) as (one, _, three):
        for _ in range(300):  # 18 MB, more than the relay keeps for the one that is silent
            one.send(large)
            assert three.receive(lambda data: data == large)


def test_who_speaks_another_language_is_unplugged_and_the_others_go_on(lan: Lan) -> None:
    with plugged(lan) as (one, two):
        stranger = socket.socket(socket.AF_UNIX)
        stranger.connect(str(lan.socket))
        stranger.sendall(b"\xff" * 64)
        stranger.settimeout(5)
        while stranger.recv(65536):
            pass
        stranger.close()
        one.send(greeting := frame(EVERYBODY, ONE))
        assert two.receive(lambda data: data == greeting)


def test_commands_within_see_no_other_network(lan: Lan) -> None:
    shown = subprocess.run(lan.within(["ip", "-o", "link"]), capture_output=True, text=True, check=True).stdout
    assert [line.split(": ")[1] for line in shown.splitlines()] == ["lo", DEVICE]


def test_it_tells_the_time(lan: Lan) -> None:
    """Asked as an NTP client does; what it says is the time that this machine has."""
    ask = """
        import socket, struct
        door = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        door.settimeout(5)
        door.sendto(b"\\x23" + bytes(39) + b"nonce-01", ("10.77.0.254", 123))
        answer = door.recv(512)
        assert answer[0] & 0x07 == 4 and answer[24:32] == b"nonce-01" and len(answer) == 48, answer
        print(struct.unpack(">Q", answer[40:48])[0] / 2**32 - 2208988800)
    """
    argv = lan.within([sys.executable, "-c", textwrap.dedent(ask)])
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert abs(float(said) - time.time()) < 5


def test_nothing_stays_after_the_end(lan: Lan) -> None:
    pid, folder = lan.pid, lan.socket.parent
    lan.__exit__(None, None, None)
    assert not Path(f"/proc/{pid}").exists()
    assert not folder.exists()
    lan.__enter__()  # for the fixture's own end


def test_the_relay_ends_when_its_starter_is_killed(lan: Lan) -> None:
    """As a test run that gets SIGKILL: nobody is left to tidy up."""
    program = """
        import sys, time
        from rack.network import Lan
        with Lan() as lan:
            print(lan.pid, lan.socket.parent, flush=True)
            time.sleep(60)
    """
    tests = Path(__file__).parent.parent
    starter = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], cwd=tests, stdout=subprocess.PIPE, text=True
    )
    assert starter.stdout is not None
    pid, folder = starter.stdout.readline().split()
    namespace = Path(f"/proc/{pid}/ns/net").readlink()
    assert namespace != Path("/proc/self/ns/net").readlink()
    starter.send_signal(signal.SIGKILL)
    starter.wait()
    until = time.monotonic() + 5
    while Path(f"/proc/{pid}/ns/net").is_symlink() and time.monotonic() < until:
        time.sleep(0.05)
    assert not os.path.lexists(f"/proc/{pid}/ns/net")
    assert not Path(folder).exists()
