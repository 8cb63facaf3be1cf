"""The console's story: how far a guest has come, and when waiting is pointless."""

import hashlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.boot.console import LONGEST_LINE, TAIL, Console

NONCE = "5f3c9a0e"
STORY = (
    b"\x1b[2J\x1b[01;01HBdsDxe: starting Boot0001\r\n"
    b"[    0.000000] Linux version 6.12.1 (debian-kernel@lists)\r\n"
    b"[    8.100000] systemd[1]: systemd 257.13 running in system mode\r\n"
    b"\r\nWelcome to \x1b[1mDebian GNU/Linux 13\x1b[0m!\r\n"
    b"\r\x1b[K[ ***  ] Job ldconfig.service/start running (3s / no limit)\r\x1b[K"
    b"vm login: "
)


def report(**facts: str) -> bytes:
    lines = [f"{key}={value}" for key, value in facts.items()]
    end = hashlib.sha256(("".join(f"{line}\n" for line in lines) + NONCE).encode()).hexdigest()
    said = ["BEGIN", *lines, f"END {len(lines)} {end}"]
    return "".join(f"\r\nIMAGESMITH {NONCE} {line}\r\n" for line in said).encode()


def heard(*pieces: bytes) -> Console:
    console = Console(NONCE)
    for piece in pieces:
        console.feed(piece)
    return console


def test_a_healthy_story_is_told_in_order() -> None:
    console = heard(STORY, report(hostname="vm"))
    assert console.reached == ["kernel", "userspace", "report"]
    assert console.facts == {"hostname": "vm"}
    assert not console.disaster


@given(st.lists(st.integers(0, len(STORY) + 250), max_size=8))
def test_where_the_bytes_are_cut_does_not_matter(cuts: list[int]) -> None:
    whole = STORY + report(hostname="vm", failed_units="", cmdline="a=b c")
    edges = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    console = heard(*(whole[a:b] for a, b in itertools.pairwise(edges)))
    assert console.facts == {"hostname": "vm", "failed_units": "", "cmdline": "a=b c"}


def test_a_login_prompt_counts_before_its_line_ends() -> None:
    assert heard(b"Debian GNU/Linux 13 vm ttyS0\r\n\r\nvm login: ").reached == ["userspace"]


def test_a_boot_loader_that_says_welcome_is_no_userspace() -> None:
    assert heard(b"Welcome to GRUB!\r\n").reached == []


def test_a_report_begun_on_a_line_with_a_progress_bar_is_read() -> None:
    console = heard(b"\r\x1b[K[ *** ] Job x/start running (1s)", report(hostname="vm"))
    assert console.facts == {"hostname": "vm"}


@pytest.mark.parametrize(
    ("line", "meaning"),
    [
        (b"[ 2.1] Kernel panic - not syncing: VFS: Unable to mount root fs", "the kernel panicked"),
        (b"[ 2.1] traps: PANIC: double fault, error_code: 0x0", "the kernel died of a double fault"),
        (b"You are in emergency mode. After logging in, type", "systemd gave up into emergency mode"),
        (b"ALERT!  UUID=xyz does not exist.  Dropping to a shell!", "the initramfs did not find the root file system"),
        (b"(initramfs) ", "the initramfs did not find the root file system"),
        (b"UEFI Interactive Shell v2.2", "the firmware found nothing to start"),
        (b"BdsDxe: No bootable option or device was found.", "the firmware found nothing to start"),
    ],
)
def test_a_disaster_is_named(line: bytes, meaning: str) -> None:
    assert heard(STORY, b"\r\n", line).disaster == meaning


@pytest.mark.parametrize(
    "line",
    [
        b"[ 1.0] Command line: root=LABEL=r panic=30",
        b"[  OK  ] Reached target emergency.target - Emergency Mode.",
        f"IMAGESMITH {NONCE} note=Kernel panic - not syncing".encode(),
    ],
)
def test_words_that_only_resemble_a_disaster_are_none(line: bytes) -> None:
    assert not heard(line + b"\r\n").disaster


def test_the_first_disaster_is_the_one_that_is_named() -> None:
    console = heard(b"PANIC: double fault\r\nKernel panic - not syncing: Fatal exception\r\n")
    assert console.disaster == "the kernel died of a double fault"


def test_the_tail_is_the_last_lines_in_plain_text() -> None:
    console = heard(b"".join(b"\x1b[32mline %d\x1b[0m\x00\r\n" % n for n in range(100)))
    assert console.tail == tuple(f"line {n}" for n in range(100 - TAIL, 100))


def test_the_tail_ends_with_the_unfinished_line() -> None:
    assert heard(b"one\r\n(initramfs) ").tail == ("one", "(initramfs)")


def test_the_tail_leaves_out_the_report() -> None:
    assert heard(b"[ 9.9] the last word\r\n", report(hostname="vm", a="b")).tail == ("[ 9.9] the last word",)


def test_a_line_without_end_takes_bounded_memory() -> None:
    console = Console(NONCE)
    for _ in range(50):
        console.feed(b"x" * 10_000)
    assert sum(map(len, console.tail)) <= (TAIL + 1) * LONGEST_LINE
    console.feed(report(hostname="vm"))
    assert console.facts == {"hostname": "vm"}
