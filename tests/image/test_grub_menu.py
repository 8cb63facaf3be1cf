"""Words for the kernel in a GRUB menu."""

from __future__ import annotations

import pytest

from imagesmith.image.grub_menu import kernel_lines, with_boot_words


def changed(text: bytes, *installer: str, installed: tuple[str, ...] = ()) -> bytes:
    return with_boot_words(text, installer, installed)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"\tlinux\t/casper/vmlinuz  ---", b"\tlinux\t/casper/vmlinuz autoinstall ---"),
        (b"linux /casper/vmlinuz quiet ---", b"linux /casper/vmlinuz quiet autoinstall ---"),
        (b"linuxefi /casper/hwe-vmlinuz --- quiet", b"linuxefi /casper/hwe-vmlinuz autoinstall --- quiet"),
        (b"linux ($root)/casper/vmlinuz", b"linux ($root)/casper/vmlinuz autoinstall ---"),
        (b"linux /casper/vmlinuz autoinstall ---", b"linux /casper/vmlinuz autoinstall ---"),
        (b"linux /casper/vmlinuz ---\r\nx", b"linux /casper/vmlinuz autoinstall ---\r\nx"),
        (b"linux16 /boot/memtest86+x64.bin", b"linux16 /boot/memtest86+x64.bin"),
        (b"# linux /casper/vmlinuz ---", b"# linux /casper/vmlinuz ---"),
        (b"initrd /casper/initrd\n", b"initrd /casper/initrd\n"),
    ],
)
def test_words_before_the_dashes(before: bytes, after: bytes) -> None:
    assert changed(before, "autoinstall") == after
    assert changed(after, "autoinstall") == after


def test_words_behind_the_dashes_are_the_installed_systems() -> None:
    text = changed(b"linux /casper/vmlinuz ---", "autoinstall", installed=("console=tty0", "console=ttyS0,115200"))
    assert text == b"linux /casper/vmlinuz autoinstall --- console=tty0 console=ttyS0,115200"


def test_a_semicolon_does_not_end_the_command() -> None:
    text = changed(b"linux /casper/vmlinuz ---", "ds=nocloud;s=/cdrom/x/")
    assert text == rb"linux /casper/vmlinuz ds=nocloud\;s=/cdrom/x/ ---"


@pytest.mark.parametrize("word", ["", "two words", "a\nb"])
def test_what_is_no_word_is_refused(word: str) -> None:
    with pytest.raises(ValueError, match="one word"):
        changed(b"linux /casper/vmlinuz ---", word)


def test_kernels_are_counted() -> None:
    assert kernel_lines(b"linux /casper/vmlinuz\n linux /casper/hwe-vmlinuz ---\nlinux /live/vmlinuz\n") == 2
