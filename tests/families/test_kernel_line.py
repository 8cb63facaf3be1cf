"""A Pi's kernel line before words are added: what the firmware would read otherwise, and what the first boot needs."""

from __future__ import annotations

import pytest

from imagesmith.families.findings import Findings
from imagesmith.families.kernel_line import objections
from imagesmith.families.raspberry import GROWERS

NEW = "console=serial0,115200 console=tty1 root=PARTUUID=5e1a02c4-02 rootfstype=ext4 rootwait resize"
OLD = NEW.replace("resize", "quiet init=/usr/lib/raspberrypi-sys-mods/firstboot")


def said(text: bytes) -> str:
    return "; ".join(objections(Findings("x.img", (), {("boot", "/cmdline.txt"): text}), "/cmdline.txt", GROWERS))


@pytest.mark.parametrize("line", [NEW, OLD, f"{NEW}\n", f"{NEW} cgroup_enable=memory\n", f"{NEW} \n"])
def test_a_stock_line_is_fine_with_or_without_its_newline(line: str) -> None:
    assert said(line.encode()) == ""


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (NEW.encode() + b"\r\n", "has carriage returns"),
        (b"\xef\xbb\xbf" + NEW.encode(), "begins with a byte order mark"),
        (NEW.encode() + b"\nquiet\n", "has 2 lines"),
        (b"\n" + NEW.encode() + b"\n", "has 2 lines"),
        (NEW.encode() + b"\0", "has zero bytes"),
        (b"", "has no root= at all"),
        (NEW.replace("PARTUUID=5e1a02c4-02", "/dev/mmcblk0p2").encode(), "has root=/dev/mmcblk0p2 where"),
        (NEW.replace(" resize", "").encode(), "has neither resize nor init=/usr/lib/raspberrypi-sys-mods/firstboot"),
        (NEW.replace("resize", "resized").encode(), "has neither resize nor"),
        (OLD.replace("firstboot", "init_resize.sh").encode(), "has neither resize nor"),
    ],
)
def test_what_would_not_do_is_told(text: bytes, complaint: str) -> None:
    assert f"/cmdline.txt {complaint}" in said(text)


def test_a_line_that_was_used_up_is_shown_as_it_stands() -> None:
    assert "it says: console=tty1 root=PARTUUID=1-02 rootwait" in said(b"console=tty1 root=PARTUUID=1-02 rootwait\n")


def test_a_missing_file_is_not_made_up() -> None:
    assert objections(Findings("x.img", (), {}), "/cmdline.txt", GROWERS) == (
        "its boot partition has no /cmdline.txt, whose words are not made up",
    )


def test_every_fault_of_a_readable_line_is_told_at_once() -> None:
    assert len(objections(Findings("x.img", (), {("boot", "/c"): b"quiet\n"}), "/c", GROWERS)) == 2
